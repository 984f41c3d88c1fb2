"""The runner: slots in, sampled tokens out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from sagellm_core.contract import (
    ConfigurationError,
    DecodeRow,
    EngineClosedError,
    KVCapacity,
    PrefillRow,
    RunnerConfig,
    RunnerError,
    UnsupportedModelError,
)

from .broad.model import BroadModel
from .device_errors import device_errors, fitting_errors
from .kv_cache import KVCache
from .long_context import TokenHistory
from .model import DecoderModel, TorchModel
from .rotary import RotaryTable
from .sampling import RowState, SamplingBatch
from .sizing import cache_shape
from .slots import Slot, SlotTable
from .step import DecodeStep
from .step_builder import StepBuilder
from .step_handle import TensorStep


def open_runner(model: TorchModel, config: RunnerConfig) -> TorchRunner:
    """A runner over a loaded model.

    :raises InsufficientMemoryError: the KV cache asked for does not fit.
    :raises ConfigurationError: ``max_model_len`` is beyond the model's, or a number is not
        positive.
    :raises UnsupportedModelError: the model only embeds.
    :raises DeviceLostError: the device is gone.
    """
    if not isinstance(model, (DecoderModel, BroadModel)) or not model.generates:
        kind = model.description.architecture or model.description.model_type
        raise UnsupportedModelError(
            f"{model.description.reference!r} ({kind}) has no output layer: it only embeds.",
            hint="Use EmbeddingEngine, or a model that generates text.",
        )
    for name in ("max_slots", "max_model_len", "block_size"):
        if getattr(config, name) < 1:
            raise ConfigurationError(
                f"{name}={getattr(config, name)} is not valid.", hint=f"{name} is at least 1."
            )
    if config.num_blocks is not None and config.num_blocks < 1:
        raise ConfigurationError(
            f"num_blocks={config.num_blocks} is not valid.", hint="num_blocks is at least 1."
        )
    if config.max_model_len > model.max_model_len:
        raise ConfigurationError(
            f"max_model_len={config.max_model_len} is more than the {model.max_model_len} tokens "
            "that the model was made for.",
            hint=f"Set max_model_len to at most {model.max_model_len}.",
        )
    hint = "Ask for fewer blocks or slots, or free memory."
    with fitting_errors(model.adapter, "Memory ran out while the KV cache was allocated", hint):
        return TorchRunner(model, config)


class TorchRunner:
    """The kit's :class:`~sagellm_core.contract.Runner`. Open it with :func:`open_runner`."""

    def __init__(self, model: DecoderModel | BroadModel, config: RunnerConfig) -> None:
        self._model = model
        self._adapter = model.adapter
        self._device = model.adapter.device
        self._vocab_size = model.config.vocab_size
        _ = model.decoder  # refuses a closed model before any memory is taken
        self._max_slots = config.max_slots
        dtype = getattr(torch, model.dtype)
        shape = cache_shape(model.config, config, self._adapter, dtype)
        self._cache: KVCache | None = self._adapter.allocate_cache(shape)
        upload = self._adapter.upload
        self._slots = SlotTable(
            config.max_slots, config.max_model_len, self._cache, self._device, upload
        )
        ropes = tuple(
            RotaryTable(rope, config.max_model_len, self._device) for rope in model.config.ropes
        )
        self._history = _token_history(ropes, config, self._device)
        self._capacity = KVCapacity(
            shape.num_blocks,
            shape.block_size,
            shape.bytes_per_block,
            shareable=self._history is None,
        )
        self._builder = StepBuilder(self._slots, ropes, self._history, upload)
        #: The rows of the last decode call.
        self._decoding: SamplingBatch | None = None
        cache = self._cache
        self._decode_forward: Callable[[DecodeStep], torch.Tensor] | None
        self._decode_forward = lambda step: model.decoder.decode(step, cache)
        # Modelling code of transformers may branch on values (experts), which no graph can hold.
        if isinstance(model, DecoderModel):
            self._decode_forward = self._adapter.capture_decode(
                self._decode_forward, self._builder.idle, config.max_slots
            )

    @property
    def capacity(self) -> KVCapacity:
        """The KV cache it allocated."""
        return self._capacity

    @property
    def max_slots(self) -> int:
        """How many slots it has."""
        return self._max_slots

    @property
    def queues_ahead(self) -> bool:
        """Whether its calls return before the device is done."""
        return self._adapter.queues_ahead

    def prefill(self, rows: Sequence[PrefillRow]) -> TensorStep:
        """Write the chunks' keys and values and sample where a row asks for it.

        :raises InvalidSamplingError: ``logit_bias`` names a token the model does not have.
        :raises BlockAccountingError: blocks are foreign, or too few.
        :raises RunnerError: the call contradicts the slots' state.
        :raises DeviceOutOfMemoryError: the step did not fit.
        :raises DeviceLostError: the device is gone.
        """
        cache = self._open_cache()
        states = self._check_prefill(rows)
        with torch.inference_mode(), device_errors(self._adapter):
            return self._prefill(rows, states, cache)

    def decode(self, rows: Sequence[DecodeRow]) -> TensorStep:
        """One step for each named slot.

        :raises BlockAccountingError: blocks are foreign, or too few.
        :raises RunnerError: a slot holds no sequence, or none that was sampled from.
        :raises DeviceOutOfMemoryError: the step did not fit.
        :raises DeviceLostError: the device is gone.
        """
        cache = self._open_cache()
        self._check_decode(rows)
        if not rows:
            return TensorStep(None, [], self._adapter)
        with torch.inference_mode(), device_errors(self._adapter):
            return self._decode(rows, cache)

    def close(self) -> None:
        """Give the KV cache back; the model stays loaded. May be called twice."""
        if self._cache is None:
            return
        try:
            self._adapter.synchronize()
        except RuntimeError as error:
            # Of a device that is gone there is nothing to wait for.
            if not self._adapter.is_lost(error):
                raise
        finally:
            self._cache.close()
            self._cache = self._decoding = self._history = None
            # Block tables, rotations and what begins steps; no open call gets past the cache.
            del self._slots, self._builder
            # It may hold the decoder, whose weights must not outlive the model's close().
            self._decode_forward = None
            self._adapter.release()

    # --- what a call must not do, found out before anything changes ----------------------

    def _open_cache(self) -> KVCache:
        if self._cache is None:
            raise EngineClosedError("The runner was closed.", hint="Open another one.")
        return self._cache

    def _check_prefill(self, rows: Sequence[PrefillRow]) -> list[RowState | None]:
        """The sampling states of the sequences that begin."""
        self._slots.check([row.slot for row in rows])
        states: list[RowState | None] = []
        for row in rows:
            tokens = row.token_ids
            if row.begin is None:
                slot = self._slots[row.slot]
                length, held = slot.length, len(slot.blocks)
                states.append(None)
            else:
                tokens = (*row.begin.cached_token_ids, *row.token_ids)
                length, held = len(row.begin.cached_token_ids), 0
                states.append(RowState(row.begin.sampling, self._vocab_size))
                if length and self._history is not None:
                    raise RunnerError(
                        f"Slot {row.slot} begins with {length} cached tokens.",
                        hint="Keys of a LongRoPE model depend on the length of their sequence: "
                        "they cannot be shared. Open the runner with max_model_len of at most "
                        f"{self._history.switch} to share them.",
                    )
            if not row.token_ids or row.start != length:
                raise RunnerError(
                    f"Slot {row.slot} holds {length} tokens; a chunk of {len(row.token_ids)} at "
                    f"{row.start} does not continue it.",
                    hint="Chunks follow each other and have at least one token.",
                )
            if min(tokens) < 0 or max(tokens) >= self._vocab_size:
                wrong = next(t for t in tokens if not 0 <= t < self._vocab_size)
                raise RunnerError(
                    f"Token {wrong} of slot {row.slot} is not in the vocabulary of "
                    f"{self._vocab_size}.",
                    hint="The prompt was made by another tokenizer.",
                )
            self._slots.check_growth(row.slot, held, row.new_blocks, row.start, len(row.token_ids))
        return states

    def _check_decode(self, rows: Sequence[DecodeRow]) -> None:
        self._slots.check([row.slot for row in rows])
        for row in rows:
            slot = self._slots[row.slot]
            if not slot.pending:
                raise RunnerError(
                    f"Slot {row.slot} has no sampled token to go on from.",
                    hint="Its last prefill has to sample.",
                )
            self._slots.check_growth(row.slot, len(slot.blocks), row.new_blocks, slot.length, 1)

    # --- steps ---------------------------------------------------------------------------

    def _prefill(
        self, rows: Sequence[PrefillRow], states: Sequence[RowState | None], cache: KVCache
    ) -> TensorStep:
        for row in rows:
            if row.begin is None:
                self._outgrow(row.slot, row.start + len(row.token_ids), cache)
        step, slots = self._builder.prefill(rows, states)
        logits = self._model.decoder.prefill(step, cache)
        if logits is None:
            return TensorStep(None, [None] * len(rows), self._adapter)
        sampled = [i for i, row in enumerate(rows) if row.sample]
        place = {row: i for i, row in enumerate(sampled)}
        drawn = [slots[i] for i in sampled]
        return self._sample(
            self._batch([slot.sampling for slot in drawn]),
            logits,
            self._adapter.upload([rows[i].slot for i in sampled]),
            drawn,
            [place.get(i) for i in range(len(rows))],
        )

    def _decode(self, rows: Sequence[DecodeRow], cache: KVCache) -> TensorStep:
        for row in rows:
            self._outgrow(row.slot, self._slots[row.slot].length + 1, cache)
        step, slots = self._builder.decode(rows)
        assert self._decode_forward is not None, "an open runner has it"
        logits = self._decode_forward(step)
        states = [slot.sampling for slot in slots]
        # Mostly the rows of the step before go on: the device knows their settings by now.
        if self._decoding is None or not self._decoding.holds(states):
            self._decoding = self._batch(states)
        return self._sample(self._decoding, logits, step.slots, slots, range(len(rows)))

    def _outgrow(self, index: int, end: int, cache: KVCache) -> None:
        step = self._builder.outgrown(index, end)
        if step is not None:
            self._model.decoder.prefill(step, cache)

    def _batch(self, states: Sequence[RowState]) -> SamplingBatch:
        adapter = self._adapter
        return SamplingBatch(
            states, adapter.upload, adapter.argmax, looks_first=not adapter.queues_ahead
        )

    def _sample(
        self,
        batch: SamplingBatch,
        logits: torch.Tensor,
        named: torch.Tensor,
        slots: Sequence[Slot],
        places: Sequence[int | None],
    ) -> TensorStep:
        sampled = batch.sample(logits, [slot.length - slot.prompt_len for slot in slots])
        self._slots.last_tokens.index_copy_(0, named, sampled.tokens)
        for slot in slots:
            slot.pending = True
        return TensorStep(sampled, places, self._adapter)


def _token_history(
    ropes: Sequence[RotaryTable], config: RunnerConfig, device: torch.device
) -> TokenHistory | None:
    """Kept only where a sequence may get long enough to need it."""
    switches = [rope.switch_length for rope in ropes if rope.switch_length is not None]
    if not switches or config.max_model_len <= min(switches):
        return None
    return TokenHistory(config.max_slots, min(switches), device)
