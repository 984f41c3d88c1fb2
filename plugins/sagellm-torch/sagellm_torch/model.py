"""Models whose weights are on the device."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import torch

from sagellm_core.contract import EngineClosedError, ModelDescription, Tokenizer

from .adapter import DeviceAdapter
from .architecture import DecoderConfig, EncoderConfig
from .decoder import Decoder, StepDecoder

if TYPE_CHECKING:
    from .embedding.embedder import TokenStates
    from .embedding.encoder import Encoder
    from .embedding.recipe import Recipe


class TorchModel:
    """The kit's :class:`~sagellm_core.contract.LoadedModel`: what all kinds have in common."""

    def __init__(
        self,
        *,
        description: ModelDescription,
        tokenizer: Tokenizer,
        adapter: DeviceAdapter,
        dtype: torch.dtype,
        max_model_len: int,
        eos_token_ids: frozenset[int] = frozenset(),
        notes: tuple[str, ...] = (),
        quantization: str = "none",
    ) -> None:
        self._quantization = quantization
        self._description = description
        self._tokenizer = tokenizer
        self._adapter = adapter
        self._dtype = dtype
        self._max_model_len = max_model_len
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
        return self._max_model_len

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Ids that end a generation."""
        return self._eos_token_ids

    @property
    def dtype(self) -> str:
        """What it computes in, as ``float32``."""
        return str(self._dtype).removeprefix("torch.")

    @property
    def torch_dtype(self) -> torch.dtype:
        """What it computes in."""
        return self._dtype

    @property
    def quantization(self) -> str:
        """``none``, ``int8``, ``int4``, or the types of a file that were kept, as ``q4_1``."""
        return self._quantization

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions a user would want to know."""
        return self._notes

    @property
    def adapter(self) -> DeviceAdapter:
        """The device it is on."""
        return self._adapter

    def close(self) -> None:
        """Give the weights back. May be called twice."""
        self._adapter.release()

    def _closed(self) -> EngineClosedError:
        return EngineClosedError(
            f"The model {self._description.reference!r} was closed.", hint="Load it again."
        )


class DecoderModel(TorchModel):
    """A decoder: it generates, where its checkpoint has an output layer, and embeds."""

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
        quantization: str = "none",
    ) -> None:
        super().__init__(
            description=description,
            tokenizer=tokenizer,
            adapter=adapter,
            dtype=dtype,
            max_model_len=decoder.config.max_position_embeddings,
            eos_token_ids=eos_token_ids,
            notes=notes,
            quantization=quantization,
        )
        self._decoder: StepDecoder | None = decoder
        self._config = decoder.config
        self._generates = decoder.has_head

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions a user would want to know; which kernels compute may change while it runs."""
        return (*self._notes, *self._adapter.kernel_notes)

    @property
    def generates(self) -> bool:
        """Whether it has an output layer; without one it only embeds."""
        return self._generates

    @property
    def config(self) -> DecoderConfig:
        """The decoder's parameters."""
        return self._config

    @property
    def decoder(self) -> StepDecoder:
        """The decoder, or what the device computes it with by now: ask before every step.

        :raises EngineClosedError: the model was closed.
        """
        decoder = self._decoder
        if decoder is None:
            raise self._closed()
        if isinstance(decoder, Decoder):
            fused = self._adapter.fuse_decoder(decoder)
            if fused is not None:
                self._decoder = decoder = fused
        return decoder

    def close(self) -> None:
        """Give the weights back. May be called twice."""
        self._decoder = None
        super().close()


class EncoderModel(TorchModel):
    """A bidirectional encoder: it only embeds."""

    def __init__(
        self,
        *,
        description: ModelDescription,
        tokenizer: Tokenizer,
        encoder: Encoder,
        recipe: Recipe,
        adapter: DeviceAdapter,
        dtype: torch.dtype,
        notes: tuple[str, ...],
        quantization: str = "none",
    ) -> None:
        super().__init__(
            description=description,
            tokenizer=tokenizer,
            adapter=adapter,
            dtype=dtype,
            max_model_len=encoder.config.max_length,
            notes=notes,
            quantization=quantization,
        )
        self._encoder: Encoder | None = encoder
        self._fused: TokenStates | None = None
        self._exchange = Lock()
        self._config = encoder.config
        self._recipe = recipe

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions a user would want to know; which kernels compute may change while it runs."""
        return (*self._notes, *self._adapter.kernel_notes)

    @property
    def config(self) -> EncoderConfig:
        """The encoder's parameters."""
        return self._config

    @property
    def recipe(self) -> Recipe:
        """How its files say that texts are embedded."""
        return self._recipe

    @property
    def encoder(self) -> TokenStates:
        """The encoder, or what the device computes it with by now: ask before every pass.

        :raises EngineClosedError: the model was closed.
        """
        fused = self._fused
        if fused is not None:
            return fused
        # What prepares the layers for a device exchanges them: one at a time.
        with self._exchange:
            if self._encoder is None:
                raise self._closed()
            if self._fused is None:
                self._fused = self._adapter.fuse_encoder(self._encoder)
            return self._fused or self._encoder

    def let_go(self) -> None:
        """Let go of what was kept between passes. May be called twice."""
        states = self._fused or self._encoder
        if states is not None:
            states.close()

    def close(self) -> None:
        """Give the weights back. May be called twice."""
        with self._exchange:
            self.let_go()
            self._encoder = self._fused = None
        super().close()
