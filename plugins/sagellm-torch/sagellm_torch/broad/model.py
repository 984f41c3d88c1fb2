"""A model that runs through transformers, on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagellm_torch.model import TorchModel

from .config import BroadConfig

if TYPE_CHECKING:
    from .decoder import BroadDecoder


class BroadModel(TorchModel):
    """It generates; embedding is the native decoders' and encoders'."""

    def __init__(self, *, decoder: BroadDecoder, **arguments: Any) -> None:
        super().__init__(max_model_len=decoder.config.max_position_embeddings, **arguments)
        self._decoder: BroadDecoder | None = decoder
        self._config = decoder.config

    @property
    def generates(self) -> bool:
        """Always."""
        return True

    @property
    def config(self) -> BroadConfig:
        """Sizes."""
        return self._config

    @property
    def decoder(self) -> BroadDecoder:
        """The decoder.

        :raises EngineClosedError: the model was closed.
        """
        if self._decoder is None:
            raise self._closed()
        return self._decoder

    def close(self) -> None:
        """Give the weights back. May be called twice."""
        self._decoder = None
        super().close()
