"""Linear layers after the pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file

from sagellm_core.contract import ModelFormatError

from .dense_config import DenseConfig


def _identity(x: torch.Tensor) -> torch.Tensor:
    return x


_ACTIVATIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": F.gelu,
    "identity": _identity,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class Dense:
    """``activation(x @ weight.T + bias)``, in float32.

    :raises ModelFormatError: the file is missing or damaged, or holds other tensors.
    """

    def __init__(self, config: DenseConfig, device: torch.device) -> None:
        try:
            tensors = load_file(config.file)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ModelFormatError(
                f"{config.file} could not be read: {error}.", hint="Fetch the model again."
            ) from error
        expected = {"linear.weight": (config.out_features, config.in_features)}
        if config.bias:
            expected["linear.bias"] = (config.out_features,)  # type: ignore[assignment]
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if found != expected:
            raise ModelFormatError(
                f"{config.file} holds {found}; its config says {expected}.",
                hint="Fetch the model again.",
            )
        self._weight = tensors["linear.weight"].float().to(device)
        self._bias = tensors["linear.bias"].float().to(device) if config.bias else None
        self._activation = _ACTIVATIONS[config.activation]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[n, in_features] -> [n, out_features]."""
        return self._activation(F.linear(x, self._weight, self._bias))
