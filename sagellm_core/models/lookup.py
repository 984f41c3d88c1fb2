"""From a reference to a description."""

from __future__ import annotations

from pathlib import Path

from sagellm_core.contract.model import ModelDescription, ProgressCallback

from .description import describe_resolved
from .reference import resolve


def describe(
    reference: str | Path,
    *,
    allow_download: bool = True,
    on_progress: ProgressCallback | None = None,
) -> ModelDescription:
    """Resolve a reference and describe the model it leads to from its headers.

    Weight files are checked to be as long as their headers say; nothing that came with the
    model is executed.

    :raises ModelNotFoundError: and the other errors of :func:`resolve`.
    :raises ModelFormatError: files are truncated, corrupt, incomplete or foreign.
    :raises UnsafeModelError: the model wants its own code run, or has pickle weights only.
    :raises UnsupportedModelError: a file version or weight type that is unknown here.
    """
    resolved = resolve(reference, allow_download=allow_download, on_progress=on_progress)
    return describe_resolved(resolved)
