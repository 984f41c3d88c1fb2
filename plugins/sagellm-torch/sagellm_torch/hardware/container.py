"""Whether this is a container, where devices are handed in one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: What the engines leave: Docker; Podman and CRI-O; Singularity and Apptainer.
_MARKS = (".dockerenv", "run/.containerenv", ".singularity.d")
#: Variables: systemd-nspawn, Podman and LXC say ``container=NAME``; Kubernetes names its API.
_VARIABLES = ("container", "KUBERNETES_SERVICE_HOST", "SINGULARITY_NAME", "APPTAINER_NAME")


def in_container(env: Mapping[str, str], root: Path) -> bool:
    """Whether the files or the environment say so."""
    return any(env.get(name) for name in _VARIABLES) or any((root / m).exists() for m in _MARKS)
