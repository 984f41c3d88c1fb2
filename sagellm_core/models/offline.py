"""Whether this process may use the network for models."""

from __future__ import annotations

import os

_VARIABLES = ("SAGELLM_OFFLINE", "HF_HUB_OFFLINE")


def offline_variable() -> str:
    """The environment variable that forbids it, as ``NAME=VALUE``; empty when it is allowed.

    Read at each call, where huggingface_hub reads its own once, when it is imported.
    """
    for name in _VARIABLES:
        value = os.environ.get(name, "")
        if value.strip().upper() in ("1", "ON", "YES", "TRUE"):
            return f"{name}={value}"
    return ""
