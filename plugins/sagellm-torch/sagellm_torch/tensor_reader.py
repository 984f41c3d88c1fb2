"""Taking tensors out of a checkpoint, checked and on the device."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sagellm_core.contract import ModelFormatError

from .adapter import DeviceAdapter
from .checkpoint import Checkpoint
from .quantization import QuantizedWeight


class TensorReader:
    """Reads tensors one at a time and remembers which ones were used.

    :param on_bytes: told the bytes of each tensor as it is read.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        adapter: DeviceAdapter,
        dtype: torch.dtype,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._checkpoint = checkpoint
        self._adapter = adapter
        self._dtype = dtype
        self._on_bytes = on_bytes
        self.names = frozenset(checkpoint.names())
        self.used: set[str] = set()

    def take(self, name: str, *shape: int) -> torch.Tensor:
        """A tensor on the device, in the compute type; its shape is checked."""
        self._check_present(name, shape)
        tensor = self._checkpoint.tensor(name, self._dtype)
        _check_shape(name, tuple(tensor.shape), shape)
        self.used.add(name)
        self._on_bytes(tensor.nbytes)
        return tensor.to(self._adapter.device)

    def take_codes(self, name: str, out: int, inputs: int) -> QuantizedWeight | None:
        """A weight on the device as the codes that it is stored as; ``None``: as none."""
        self._check_present(name, (out, inputs))
        weight = self._checkpoint.codes(name)
        if weight is None:
            return None
        _check_shape(name, weight.shape, (out, inputs))
        self.used.add(name)
        # As many as the same weight in the compute type, which the whole is told in.
        self._on_bytes(out * inputs * self._dtype.itemsize)
        return weight.to(self._adapter.device)

    def stored_type(self, name: str) -> str:
        """The name of a tensor's type in the checkpoint."""
        return self._checkpoint.stored_type(name)

    def _check_present(self, name: str, shape: tuple[int, ...]) -> None:
        if name not in self.names:
            raise ModelFormatError(
                f"The checkpoint has no tensor {name!r} (expected shape {list(shape)}).",
                hint="Its files are incomplete: fetch the model again.",
            )


def _check_shape(name: str, found: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if found != shape:
        raise ModelFormatError(
            f"The tensor {name!r} has shape {list(found)}; the config says {list(shape)}.",
            hint="Use the config.json that was published with these weights.",
        )
