"""What the installed torch was built for, found out without importing it.

torch writes its toolkits into ``torch/version.py`` when it is built: a line for each, ``None`` or
a version. Reading that file takes a millisecond where importing torch takes seconds.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from .hardware.files import read_text

_VERSION = "__version__"
#: Names in the file that are no toolkits.
_OTHERS = frozenset({_VERSION, "__all__", "debug", "git_version"})


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """A torch that is installed."""

    #: As ``2.13.0+cpu``; empty where the file does not say.
    version: str
    #: The toolkits that it was built with, by the names in ``torch.version``, and their versions.
    #: ``None`` where the file is missing or unreadable, so that nothing can be said.
    toolkits: Mapping[str, str] | None = field(default_factory=dict)

    def __str__(self) -> str:
        return f"torch {self.version}".rstrip()


def installed_torch(search_path: Sequence[str] | None = None) -> TorchBuild | None:
    """The torch that ``import torch`` would find; ``None`` where there is none.

    :param search_path: directories to look in instead of those that imports look in.
    """
    place = _folder(search_path)
    if place is None:
        return None
    text = read_text(place / "version.py")
    values = None if text is None else _assigned(text)
    if values is None:
        return TorchBuild("", None)
    toolkits = {name: value for name, value in values.items() if name not in _OTHERS and value}
    return TorchBuild(values.get(_VERSION) or "", toolkits)


def build_of(version: ModuleType) -> TorchBuild:
    """The same of a torch that was imported: from ``torch.version``."""
    values = {name: value for name, value in vars(version).items() if isinstance(value, str)}
    toolkits = {
        name: value
        for name, value in values.items()
        if value and name not in _OTHERS and not name.startswith("__")
    }
    return TorchBuild(values.get(_VERSION, ""), toolkits)


def _folder(search_path: Sequence[str] | None) -> Path | None:
    try:
        # Neither imports a module at the top level.
        if search_path is None:
            spec = importlib.util.find_spec("torch")
        else:
            spec = importlib.machinery.PathFinder.find_spec("torch", list(search_path))
    except (ImportError, ValueError):  # ValueError: a module without a spec stands in for it
        return None
    # A folder without __init__.py, left by an uninstallation, has no origin.
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _assigned(source: str) -> dict[str, str | None] | None:
    """Names to strings or ``None``, of plain assignments; ``None`` when it is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    values: dict[str, str | None] = {}
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value)):
                pass
            case _:
                continue
        if value is None or isinstance(value, str):
            values[name] = value
    return values
