"""From a model's description to its checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from sagellm_core.contract import ModelDescription, ModelFormat, ModelNotFoundError
from sagellm_torch.quantization import QuantizedWeight


@runtime_checkable
class Checkpoint(Protocol):
    """The configuration and the tensors of a model on disk."""

    #: As in config.json of a Hugging Face directory, text part only.
    config: Mapping[str, Any]
    #: As in generation_config.json; ``eos_token_id`` (one or a list) where it is known.
    generation_config: Mapping[str, Any]

    def names(self) -> Collection[str]:
        """Names of the tensors, such as ``model.layers.0.self_attn.q_proj.weight``."""
        ...

    def tensor(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """One tensor on the CPU, in the layout that Hugging Face checkpoints have.

        Linear weights are [out_features, in_features]; the halves of a rotary pair are d/2
        apart; Gemma's norm weights are those that one is added to.

        :param dtype: a floating type, to which the values are rounded.
        :raises ModelFormatError: there is no such tensor, or it cannot be read.
        :raises UnsupportedModelError: it is stored in a type that is not supported.
        """
        ...

    def codes(self, name: str) -> QuantizedWeight | None:
        """A linear weight that is stored as codes with a scale for each group, just as it is.

        Rows are in the order of :meth:`tensor`. ``None``: it is stored in another way.

        :raises ModelFormatError: it cannot be read.
        """
        ...

    def stored_type(self, name: str) -> str:
        """The name of a tensor's type in the files, as ``Q6_K`` or ``BF16``."""
        ...

    def close(self) -> None:
        """Give the files back. May be called twice."""
        ...


def open_checkpoint(description: ModelDescription) -> Checkpoint:
    """Open the files of a model. Reads headers, no weights.

    :raises ModelNotFoundError: the description names no files.
    :raises ModelFormatError: the files are missing, damaged or incomplete.
    :raises UnsafeModelError: the only weights are pickles.
    :raises UnsupportedModelError: the architecture or quantisation is not supported.
    """
    if description.path is None or description.format is ModelFormat.UNRESOLVED:
        raise ModelNotFoundError(
            f"{description.reference!r} was not resolved to any files.",
            hint="Pass a directory with safetensors files, or a .gguf file.",
        )
    if description.format is ModelFormat.GGUF:
        from .gguf.checkpoint import GGUFCheckpoint

        return GGUFCheckpoint(description.path)
    from .safetensors_checkpoint import SafetensorsCheckpoint

    return SafetensorsCheckpoint(description.path)
