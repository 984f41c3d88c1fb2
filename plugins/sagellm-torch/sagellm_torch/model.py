"""A model whose weights are on the device."""

from __future__ import annotations

import torch

from sagellm_core.contract import EngineClosedError, ModelDescription, Tokenizer

from .adapter import DeviceAdapter
from .architecture import DecoderConfig
from .decoder import Decoder


class TorchModel:
    """The kit's :class:`~sagellm_core.contract.LoadedModel`."""

    def __init__(
        self,
        *,
        description: ModelDescription,
        tokenizer: Tokenizer,
        decoder: Decoder,
        adapter: DeviceAdapter,
        dtype: torch.dtype,
        eos_token_ids: frozenset[int],
        notes: tuple[str, ...],
    ) -> None:
        self._description = description
        self._tokenizer = tokenizer
        self._decoder: Decoder | None = decoder
        self._config = decoder.config
        self._adapter = adapter
        self._dtype = dtype
        self._eos_token_ids = eos_token_ids
        self._notes = notes

    @property
    def description(self) -> ModelDescription:
        """The description that it was loaded from."""
        return self._description

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        return self._tokenizer

    @property
    def max_model_len(self) -> int:
        """Longest sequence, prompt and output together, in tokens."""
        return self._config.max_position_embeddings

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Ids that end a generation."""
        return self._eos_token_ids

    @property
    def dtype(self) -> str:
        """What it computes in, as ``float32``."""
        return str(self._dtype).removeprefix("torch.")

    @property
    def quantization(self) -> str:
        """Weights are kept as they compute."""
        return "none"

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions a user would want to know."""
        return self._notes

    @property
    def config(self) -> DecoderConfig:
        """The decoder's parameters."""
        return self._config

    @property
    def adapter(self) -> DeviceAdapter:
        """The device it is on."""
        return self._adapter

    @property
    def decoder(self) -> Decoder:
        """The decoder.

        :raises EngineClosedError: the model was closed.
        """
        if self._decoder is None:
            raise EngineClosedError(
                f"The model {self._description.reference!r} was closed.", hint="Load it again."
            )
        return self._decoder

    def close(self) -> None:
        """Give the weights back. May be called twice."""
        self._decoder = None
        self._adapter.release()
