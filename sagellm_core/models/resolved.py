"""Where a model reference leads on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sagellm_core.contract.model import ModelFormat

Source = Literal["path", "package", "registry", "hub"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """Where a reference leads on this machine."""

    #: What the user typed.
    reference: str
    #: A directory (safetensors) or a GGUF file; absolute.
    path: Path
    #: How the model lies there.
    kind: ModelFormat
    #: Which kind of reference it was.
    source: Source
    #: Hub revision (a commit where it is known); empty elsewhere.
    revision: str = ""


def resolved_at(
    place: Path, *, reference: str, source: Source, revision: str = ""
) -> ResolvedModel:
    """The model at ``place``.

    :raises ModelNotFoundError: and the other errors of :func:`~.place.inspect_place`.
    """
    from .place import inspect_place

    path, kind = inspect_place(place)
    return ResolvedModel(
        reference=reference, path=path, kind=kind, source=source, revision=revision
    )
