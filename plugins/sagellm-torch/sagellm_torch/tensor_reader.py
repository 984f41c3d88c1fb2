"""Taking tensors out of a checkpoint, checked and on the device."""

from __future__ import annotations

from collections.abc import Callable

import torch

from sagellm_core.contract import ModelFormatError

from .adapter import DeviceAdapter
from .checkpoint import Checkpoint


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
        if name not in self.names:
            raise ModelFormatError(
                f"The checkpoint has no tensor {name!r} (expected shape {list(shape)}).",
                hint="Its files are incomplete: fetch the model again.",
            )
        tensor = self._checkpoint.tensor(name, self._dtype)
        if tuple(tensor.shape) != shape:
            raise ModelFormatError(
                f"The tensor {name!r} has shape {list(tensor.shape)}; the config says "
                f"{list(shape)}.",
                hint="Use the config.json that was published with these weights.",
            )
        self.used.add(name)
        self._on_bytes(tensor.nbytes)
        return tensor.to(self._adapter.device)
