"""The decoder in one native call a step: what :class:`sagellm_torch.decoder.Decoder` computes."""

from __future__ import annotations

import ctypes
import weakref
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from sagellm_torch.architecture import DecoderConfig
from sagellm_torch.kv_cache import KVCache
from sagellm_torch.step import DecodeStep, PrefillStep

from sagellm_core.contract import DeviceOutOfMemoryError, InsufficientMemoryError, RunnerError

from .structures import (
    DECODER_STRUCTURES,
    ConfigStructure,
    EndsStructure,
    LayerStructure,
    StepStructure,
    WeightStructure,
)

#: Activations by the names that configs use, as numbered in ``src/row_math.h``.
ACTIVATIONS = {
    "silu": 0,
    "swish": 0,
    "gelu": 1,
    "gelu_pytorch_tanh": 2,
    "gelu_new": 2,
    "relu": 3,
}
_NO_MEMORY = 1
_DEFECTS = {
    2: "names a token that is not in the vocabulary",
    3: "names a block that is not in the cache",
    4: "describes rows that do not fit together",
}


class Packed(Protocol):
    """A packed weight. It owns the memory that its structure points to."""

    @property
    def structure(self) -> WeightStructure:
        """What the library takes."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        ...


class Threads(Protocol):
    """The threads that compute."""

    @property
    def handle(self) -> int:
        """Address of the library's ``Pool``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeLayer:
    """One decoder layer; norms float32 and contiguous, as in the kit's ``LayerWeights``."""

    qkv: Packed
    output: Packed
    gate_up: Packed
    down: Packed
    attention_norm: torch.Tensor
    mlp_norm: torch.Tensor
    post_attention_norm: torch.Tensor | None
    post_mlp_norm: torch.Tensor | None
    qk_norm: torch.Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeWeights:
    """All weights of a model."""

    #: [vocab, hidden], float32 and contiguous; ``None``: embeddings are rows of the head.
    embedding: torch.Tensor | None
    layers: Sequence[NativeLayer]
    final_norm: torch.Tensor
    #: ``None``: the model only embeds.
    head: Packed | None


class NativeDecoder:
    """A decoder over packed weights. Keeps no state of any sequence; calls take turns.

    The results of a row do not depend on the rows beside it, nor on how its sequence was cut into
    chunks, nor on the number of threads.

    :param library: the loaded native library.
    :param threads: lives at least as long as the decoder.
    :raises InsufficientMemoryError: no memory for it.
    """

    def __init__(
        self, config: DecoderConfig, weights: NativeWeights, library: ctypes.CDLL, threads: Threads
    ) -> None:
        self.config = config
        self._weights = weights
        self._threads = threads
        self._hidden_size = config.hidden_size
        self._vocab_size = config.vocab_size
        self._cache: weakref.ref[KVCache] | None = None
        self._pointers = array("q")
        self._address = 0
        self._step = library.sagellm_decoder_step
        self._step.restype = ctypes.c_int32
        self._step.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        self._handle = _create(library, config, weights)
        library.sagellm_decoder_destroy.restype = None
        library.sagellm_decoder_destroy.argtypes = (ctypes.c_void_p,)
        weakref.finalize(self, library.sagellm_decoder_destroy, self._handle)

    @property
    def has_head(self) -> bool:
        """Whether it can give logits; without a head it only embeds."""
        return self._weights.head is not None

    def decode(self, step: DecodeStep, cache: KVCache) -> torch.Tensor:
        """Write each row's key and value into the cache; logits [B, vocab]."""
        blocks, stride = step.blocks.data_ptr(), 8 * step.max_blocks
        segments = array("q")
        for row, context in enumerate(step.contexts):
            segments.extend((row, 1, context - 1, blocks + row * stride))
        count = len(step.contexts)
        logits = torch.empty((count, self._vocab_size))
        self._run(step, cache, segments, count, None, logits)
        return logits

    def prefill(self, step: PrefillStep, cache: KVCache) -> torch.Tensor | None:
        """Write the chunks' keys and values into the cache.

        :returns: logits [rows, vocab] of the rows that the step wants; ``None`` without any.
        """
        count = _wanted(step)
        logits = torch.empty((count, self._vocab_size)) if count else None
        self._run(step, cache, _segments(step), count, None, logits)
        return logits

    def hidden_states(self, step: PrefillStep, cache: KVCache) -> torch.Tensor:
        """Hidden states after the last norm, [T, hidden], or of the rows that the step wants."""
        count = _wanted(step)
        hidden = torch.empty((count, self._hidden_size))
        self._run(step, cache, _segments(step), count, hidden, None)
        return hidden

    def _run(
        self,
        step: PrefillStep | DecodeStep,
        cache: KVCache,
        segments: array[int],
        outputs: int,
        hidden: torch.Tensor | None,
        logits: torch.Tensor | None,
    ) -> None:
        if self._cache is None or self._cache() is not cache:
            self._bind(cache)
        wanted = step.logits_index
        rotations = array("q", [rotation.data_ptr() for rotation in step.rotations])
        structure = StepStructure(
            step.tokens.numel(),
            len(segments) // 4,
            -1 if wanted is None else outputs,
            cache.shape.block_size,
            cache.shape.num_blocks,
            step.tokens.data_ptr(),
            rotations.buffer_info()[0],
            segments.buffer_info()[0],
            None if wanted is None else wanted.data_ptr(),
            self._address,
            None if hidden is None else hidden.data_ptr(),
            None if logits is None else logits.data_ptr(),
        )
        result = self._step(self._handle, self._threads.handle, ctypes.addressof(structure))
        if result:
            _raise(result, structure.rows)

    def _bind(self, cache: KVCache) -> None:
        # Addresses of all layers' keys and values, asked for once.
        self._pointers = array(
            "q", [tensor.data_ptr() for layer in cache.layers for tensor in layer]
        )
        self._address = self._pointers.buffer_info()[0]
        self._cache = weakref.ref(cache)


def _wanted(step: PrefillStep) -> int:
    return step.tokens.numel() if step.logits_index is None else step.logits_index.numel()


def _segments(step: PrefillStep) -> array[int]:
    segments = array("q")
    for segment in step.segments:
        segments.extend((segment.first, segment.count, segment.start, segment.blocks.data_ptr()))
    return segments


def _raise(result: int, rows: int) -> None:
    if result == _NO_MEMORY:
        raise DeviceOutOfMemoryError(
            f"There is no memory for a step of {rows} tokens.",
            hint="Lower max_prefill_tokens, or free memory.",
        )
    raise RunnerError(
        f"A step of {rows} tokens {_DEFECTS.get(result, f'failed with code {result}')}.",
        hint="This is a defect of the engine or the runner: please report it.",
    )


def _address(tensor: torch.Tensor | None) -> int | None:
    if tensor is None:
        return None
    assert tensor.dtype == torch.float32, "the library reads floats"
    assert tensor.is_contiguous(), "the library knows no strides"
    return tensor.data_ptr()


def _create(library: ctypes.CDLL, config: DecoderConfig, weights: NativeWeights) -> int:
    sizes = (ctypes.c_int64 * len(DECODER_STRUCTURES))()
    library.sagellm_decoder_layout(sizes)
    own = [ctypes.sizeof(structure) for structure in DECODER_STRUCTURES]
    assert list(sizes) == own, f"structures of {list(sizes)} bytes, not {own}"
    common = ConfigStructure(
        config.vocab_size,
        config.hidden_size,
        config.intermediate_size,
        config.num_heads,
        config.num_kv_heads,
        config.head_dim,
        config.num_layers,
        len(config.ropes),
        ACTIVATIONS[config.activation],
        config.norm_eps,
        config.attention_scale,
        config.attention_softcap or 0.0,
        config.logit_softcap or 0.0,
        config.embedding_scale,
    )
    layers = (LayerStructure * config.num_layers)(
        *(
            LayerStructure(
                layer.qkv.structure,
                layer.output.structure,
                layer.gate_up.structure,
                layer.down.structure,
                _address(layer.attention_norm),
                _address(layer.mlp_norm),
                _address(layer.post_attention_norm),
                _address(layer.post_mlp_norm),
                _address(layer.qk_norm),
                settings.sliding_window or 0,
                settings.rope,
            )
            for layer, settings in zip(weights.layers, config.layers, strict=True)
        )
    )
    rotary_dims = array("q", [rope.rotary_dim for rope in config.ropes])
    ends = EndsStructure(
        _address(weights.embedding),
        _address(weights.final_norm),
        None if weights.head is None else ctypes.pointer(weights.head.structure),
        rotary_dims.buffer_info()[0],
    )
    create = library.sagellm_decoder_create
    create.restype = ctypes.c_void_p
    handle: int | None = create(ctypes.byref(common), layers, ctypes.byref(ends))
    if handle is None:
        raise InsufficientMemoryError(
            "There is no memory for the decoder.", hint="Free memory, or use a smaller model."
        )
    return handle
