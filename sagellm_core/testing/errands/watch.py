"""Sees what code looks at outside of a made file tree."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

#: Where devices and drivers show themselves.
_MACHINE = ("/proc", "/sys", "/dev")
#: What any program may look at.
_HARMLESS = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
#: Audit events (https://docs.python.org/3/library/audit_events.html) with a path first, and those
#: of programs that are started.
_PATH_EVENTS = frozenset({"open", "os.listdir", "os.scandir", "os.walk"})
_PROGRAM_EVENTS = frozenset({"subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"})
#: Looking at files raises no events; these are what every way in the library comes down to.
_LOOKS = ("stat", "lstat", "access", "readlink", "statvfs")


class Watch:
    """Notes, while it is entered, what is looked at that belongs to the machine and not to a tree.

    For a process that ends soon: an audit hook cannot be taken out again.

    :param root: the tree.
    """

    def __init__(self, root: Path, *, active: bool) -> None:
        self._root = str(root)
        self._active = active
        self._watching = False
        self._originals: dict[str, Callable[..., Any]] = {}
        #: Sentences' ends, as in ``reads /dev/kfd``.
        self.seen: list[str] = []

    def __enter__(self) -> Watch:
        if self._active:
            sys.addaudithook(self._heard)
            for name in _LOOKS:
                self._originals[name] = getattr(os, name)
                setattr(os, name, self._noting(self._originals[name]))
            self._watching = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watching = False
        for name, original in self._originals.items():
            setattr(os, name, original)

    def _noting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def look(path: Any, *args: Any, **kwargs: Any) -> Any:
            if self._watching:
                self._note(path)
            return original(path, *args, **kwargs)

        return look

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event in _PATH_EVENTS and arguments:
            self._note(arguments[0])
        elif event in _PROGRAM_EVENTS:
            self._add(f"starts a program, {str(arguments[0])[:100]}")

    def _note(self, path: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        place = os.path.normpath(os.path.join(os.getcwd(), os.fsdecode(path)))  # noqa: PTH109, PTH118
        outside = any(f"{place}/".startswith(f"{each}/") for each in _MACHINE)
        if outside and place not in _HARMLESS and not f"{place}/".startswith(f"{self._root}/"):
            self._add(f"looks at {place}")

    def _add(self, what: str) -> None:
        if what not in self.seen:
            self.seen.append(what)
