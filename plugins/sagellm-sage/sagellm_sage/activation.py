"""Giving SAGE's two import paths to sagellm where another distribution owns them.

isage-kernel 0.2 and isage-common 0.2 have packages of their own at these paths, and a package
goes before the modules that this distribution puts beside it. :func:`activate` puts a finder
before Python's, which leads those two names here and touches no other. Nothing calls it but a
program that asks for it: its first lines, or ``python -m sagellm_sage``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).resolve().parent.parent

#: The import paths, and the file of each in this distribution.
PATHS = {
    "sage.middleware.operators.llm": _HERE / "sage" / "middleware" / "operators" / "llm.py",
    "sage.common.model_registry": _HERE / "sage" / "common" / "model_registry.py",
}
#: A module that hands on names from one of the paths, and those names.
_HANDED_ON = {"sage.middleware.operators": ("sage.middleware.operators.llm", "SageLLMGenerator")}


class _Finder(MetaPathFinder):
    """Finds the modules of :data:`PATHS`, and nothing else."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The specification of one of the two; ``None`` for any other name."""
        file = PATHS.get(fullname)
        return None if file is None else spec_from_file_location(fullname, file)


_finder = _Finder()
_lock = threading.RLock()


def is_active() -> bool:
    """Whether :func:`activate` was called, and :func:`deactivate` was not since."""
    return _finder in sys.meta_path


def activate() -> None:
    """Have ``sage.middleware.operators.llm`` and ``sage.common.model_registry`` be sagellm's.

    May be called before or after these were imported, also twice, and where nothing else owns
    them. Names that a module took with ``from ... import`` before stay what they were, so call
    it before importing the modules of a pipeline.
    """
    with _lock:
        if is_active():
            return
        sys.meta_path.insert(0, _finder)
        for name, file in PATHS.items():
            loaded = sys.modules.get(name)
            if loaded is not None and not _is_from(loaded, file):
                _reload(name)


def deactivate() -> None:
    """Undo :func:`activate`: the next import of the two paths finds what Python finds.

    For tests. Modules that imported from them keep what they have.
    """
    with _lock:
        if not is_active():
            return
        sys.meta_path.remove(_finder)
        for name in PATHS:
            if name in sys.modules:
                _reload(name)


def _reload(name: str) -> None:
    """Import ``name`` anew, and have it where parents and their names lead."""
    for loaded in [each for each in sys.modules if f"{each}.".startswith(f"{name}.")]:
        del sys.modules[loaded]
    # Importing also makes it an attribute of its parent, in the old one's place.
    module = import_module(name)
    for parent, (source, attribute) in _HANDED_ON.items():
        # A namespace package hands nothing on.
        if source == name and attribute in vars(sys.modules.get(parent, object)):
            setattr(sys.modules[parent], attribute, getattr(module, attribute))


def _is_from(module: ModuleType, file: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return origin is not None and Path(origin).resolve() == file
