"""Where the limits of this process's control groups stand (cgroups(7)). Imports no torch."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

_MOUNT = "sys/fs/cgroup"


def group_folders(root: Path, controller: str) -> tuple[list[Path], list[Path]]:
    """Folders whose limits apply: the process's own group, and every group around it.

    Inside a container the own group is often mounted as the root, and the path that
    ``/proc/self/cgroup`` tells does not exist there; then only the root remains.

    :param controller: ``memory`` or ``cpu``.
    :returns: those of version 2, and those of version 1.
    """
    unified, legacy = PurePosixPath("/"), PurePosixPath("/")
    for line in _lines(root / "proc/self/cgroup"):
        # "0::/path" in version 2, "5:cpu,cpuacct:/path" in version 1.
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            unified = PurePosixPath("/", path)
        elif controller in controllers.split(","):
            legacy = PurePosixPath("/", path)
    mount = root / _MOUNT
    return _upwards(mount, unified), _upwards(mount / controller, legacy)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _upwards(mount: Path, group: PurePosixPath) -> list[Path]:
    if ".." in group.parts:  # a group outside the namespace: nothing of it is mounted here
        return [mount]
    return [mount.joinpath(*part.parts[1:]) for part in (group, *group.parents)]


def read_text(path: Path) -> str | None:
    """A limit file's text without white space around it; ``None`` when it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except (OSError, ValueError):  # ValueError: a NUL byte in a path that the kernel never has
        return None


def read_number(path: Path) -> int | None:
    """The number in a limit file; ``None`` when it is missing or says ``max``."""
    text = read_text(path)
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
