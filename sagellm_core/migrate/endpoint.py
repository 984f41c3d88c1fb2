"""Who answers at a ``base_url``: this machine, or somebody else."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

_LOCAL_NAMES = frozenset(("localhost", "ip6-localhost", "host.docker.internal"))


def is_local(base_url: str) -> bool:
    """Whether the URL's host is this machine: loopback, or the wildcard 0.0.0.0 or ::."""
    text = base_url.strip()
    try:
        host = urlsplit(text if "//" in text else f"//{text}").hostname
    except ValueError:
        return False
    if not host:
        return False
    if host in _LOCAL_NAMES or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
