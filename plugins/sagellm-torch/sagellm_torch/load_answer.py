"""What a plugin over the kit answers to ``sagellm_can_load``. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Set

from sagellm_core.contract import (
    LoadAnswer,
    LoadVerdict,
    ModelDescription,
    ModelFormat,
    SageLLMError,
)

from .footprint import bytes_needed, itemsize
from .purpose import capabilities_of


def _in_its_own_type(model: ModelDescription) -> int | None:
    return bytes_needed(model, itemsize(model))


def load_answer(
    model: ModelDescription,
    offered: Set[str],
    needed: Callable[[ModelDescription], int | None] = _in_its_own_type,
) -> LoadAnswer:
    """Whether the kit covers the model, what it can be opened for, and what memory it takes.

    :param offered: the capabilities in ``sagellm_plugin_info``.
    :param needed: bytes of device memory; by default those of weights in the checkpoint's own
        type. It may raise what :func:`~sagellm_torch.purpose.capabilities_of` may.
    """
    if model.format is ModelFormat.UNRESOLVED:
        return LoadAnswer(
            verdict=LoadVerdict.NO,
            reason=f"{model.reference!r} was not resolved to model files.",
            hint="Pass a directory with safetensors, or a .gguf file.",
        )
    try:
        found = capabilities_of(model, offered)
        size = needed(model)
    except SageLLMError as error:
        return LoadAnswer(verdict=LoadVerdict.NO, reason=error.message, hint=error.hint)
    return LoadAnswer(
        verdict=LoadVerdict.YES,
        bytes_needed=size,
        capabilities=None if found == offered else found,
    )
