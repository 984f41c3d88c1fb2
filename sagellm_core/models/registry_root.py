"""Where registries lie: the one that is written, and those of SAGE that are read too."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import ModelRegistryError

#: ``sagellm``: the one that is written. ``vllm``: SAGE's of before. ``isage``: that of isage
#: 0.3. ``given``: whichever a caller passed as ``root``. ``source``: one to import from.
Origin = Literal["sagellm", "vllm", "isage", "given", "source"]


@dataclass(frozen=True, slots=True)
class RegistryRoot:
    """A directory with a ``metadata.json``, whether that exists already or not."""

    path: Path
    origin: Origin = "given"

    @property
    def is_foreign(self) -> bool:
        """Whether it belongs to another program: it is read, and never written."""
        return is_foreign(self.origin)


def is_foreign(origin: Origin) -> bool:
    """Whether registries of this origin are read, and never written."""
    return origin not in ("sagellm", "given")


def model_root() -> Path:
    """``$SAGE_SAGELLM_MODEL_ROOT``, or ``~/.sage/models/sagellm``; read anew at each call."""
    return _place("SAGE_SAGELLM_MODEL_ROOT", "~/.sage/models/sagellm")


def written_root(root: Path | str | None) -> RegistryRoot:
    """The registry that a change goes to."""
    if root is None:
        return RegistryRoot(model_root(), "sagellm")
    return RegistryRoot(_expanded(str(root)))


def read_roots(root: Path | str | None) -> tuple[RegistryRoot, ...]:
    """The registries that a look-up asks, in this order: with a ``root`` that one alone."""
    if root is not None:
        return (written_root(root),)
    ours = written_root(None)
    return (ours, *(other for other in foreign_roots() if other.path != ours.path))


def foreign_roots() -> tuple[RegistryRoot, ...]:
    """Registries of other programs: the old vLLM one, and that of isage 0.3."""
    data = os.environ.get("XDG_DATA_HOME", "").strip() or "~/.local/share"
    return (
        RegistryRoot(_place("SAGE_LLM_MODEL_ROOT", "~/.sage/models/vllm"), "vllm"),
        RegistryRoot(_expanded(f"{data}/sage/models/sagellm"), "isage"),
    )


def _place(variable: str, otherwise: str) -> Path:
    return _expanded(os.environ.get(variable, "").strip() or otherwise)


def _expanded(text: str) -> Path:
    if "\0" in text:
        raise ModelRegistryError(
            f"The registry's place {text[:80]!r} has a NUL character.", hint="Remove it."
        )
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ModelRegistryError(
            f"The registry's place {text[:80]!r} cannot be the name of a directory.",
            hint="Set SAGE_SAGELLM_MODEL_ROOT to a directory.",
        ) from error
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ModelRegistryError(
            f"The model registry's place cannot be told: {error}",
            hint="Set SAGE_SAGELLM_MODEL_ROOT to a directory.",
        ) from error
