"""The encoder in one native call a pass: what the kit's ``Encoder`` computes."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from sagellm_torch.activations import ACTIVATIONS as ACTIVATION_FUNCTIONS
from sagellm_torch.embedding.encoder import Encoder
from sagellm_torch.embedding.encoder_weights import EncoderLayer, Norm
from sagellm_torch.embedding.pack import Pack
from sagellm_torch.linear import (
    ActivatedLinear,
    AddedLinear,
    Linear,
    ResidualLinear,
)

from sagellm_core.contract import DeviceOutOfMemoryError, InsufficientMemoryError, RunnerError

from .conversion import to_native
from .decoder import ACTIVATIONS
from .library import NativePool
from .linear import NativeLinear
from .structures import (
    EncoderConfigStructure,
    EncoderLayerStructure,
    EncoderNormStructure,
    EncoderPassStructure,
    EncoderTablesStructure,
)

_NO_MEMORY = 1


class NativeEncoder:
    """An encoder over packed weights. Keeps no state of any text; calls take turns.

    The results of a text depend neither on those beside it nor on the number of threads.

    :param encoder: what it computes.
    :param layers: qkv, output, up and down of each layer.
    :raises InsufficientMemoryError: no memory for it.
    """

    def __init__(
        self, encoder: Encoder, layers: Sequence[Sequence[NativeLinear]], pool: NativePool
    ) -> None:
        self._encoder = encoder
        self._layers = layers  # own what the structures point to, as the encoder's norms do
        self._pool = pool
        config, weights = encoder.config, encoder.weights
        self._hidden_size = config.hidden_size
        library = pool.library.c
        common = EncoderConfigStructure(
            config.vocab_size,
            config.position_rows,
            config.hidden_size,
            config.intermediate_size,
            config.num_heads,
            config.num_layers,
            ACTIVATIONS[config.activation],
            config.norm_eps,
        )
        tables = EncoderTablesStructure(
            _address(weights.words), _address(weights.positions), _norm(weights.norm)
        )
        handle: int | None = library.sagellm_encoder_create(
            ctypes.byref(common),
            (EncoderLayerStructure * len(layers))(*map(_structure, weights.layers, layers)),
            ctypes.byref(tables),
        )
        if handle is None:
            raise InsufficientMemoryError(
                "There is no memory for the encoder.", hint="Free memory, or use a smaller model."
            )
        self._handle = handle
        weakref.finalize(self, library.sagellm_encoder_destroy, handle)

    def hidden_states(self, pack: Pack, rows: torch.Tensor | None) -> torch.Tensor:
        """Token vectors of the last layer, [T, hidden], or of some rows of ``T``.

        :raises DeviceOutOfMemoryError: no memory for a pass of so many tokens.
        """
        lengths = np.asarray(pack.lengths, np.int64)
        places = self._encoder.positions(pack)
        bias = self._encoder.bias(pack.lengths[0])
        count = pack.tokens.numel()
        wanted = count if rows is None else rows.numel()
        hidden = torch.empty(wanted, self._hidden_size)
        structure = EncoderPassStructure(
            count,
            len(lengths),
            -1 if rows is None else wanted,
            pack.tokens.data_ptr(),
            places.data_ptr(),
            lengths.ctypes.data,
            None if rows is None else rows.data_ptr(),
            None if bias is None else _address(bias),
            0 if bias is None else bias.shape[1],
            hidden.data_ptr(),
        )
        result = self._pool.library.c.sagellm_encoder_pass(
            self._handle, self._pool.handle, ctypes.byref(structure)
        )
        if result == _NO_MEMORY:
            raise DeviceOutOfMemoryError(
                f"There is no memory for a pass of {count} tokens.",
                hint="Embed fewer or shorter texts at once, or free memory.",
            )
        if result:
            raise RunnerError(
                f"A pass of {count} tokens failed with code {result}.",
                hint="This is a defect of the embedder: please report it.",
            )
        return hidden

    def close(self) -> None:
        """Let go of what was kept between passes."""
        self._encoder.close()
        self._pool.library.c.sagellm_encoder_release(self._handle)


def native_encoder(encoder: Encoder, pool: NativePool) -> NativeEncoder | None:
    """Over the encoder's layers, which become native ones first, one after another.

    :returns: ``None`` where it cannot compute what is asked for.
    """
    if encoder.config.activation not in ACTIVATIONS:
        return None
    layers = encoder.weights.layers
    exchanged = []
    for index in range(len(layers)):
        layer = layers[index]
        packed = [_native(part, pool) for part in _parts(layer)]
        native = [linear for linear in packed if linear is not None]
        if len(native) < len(packed):
            return None
        # What was there before is freed now: weights are never in memory twice.
        layers[index] = _replaced(layer, native, encoder.config.activation)
        exchanged.append(native)
    return NativeEncoder(encoder, exchanged, pool)


def _structure(layer: EncoderLayer, native: Sequence[NativeLinear]) -> EncoderLayerStructure:
    return EncoderLayerStructure(
        *(linear.weight.structure for linear in native),
        _norm(layer.attention_norm),
        _norm(layer.output_norm),
    )


def _parts(layer: EncoderLayer) -> tuple[Linear | ResidualLinear, ...]:
    return layer.qkv, layer.output, layer.up, layer.down


def _replaced(layer: EncoderLayer, native: Sequence[NativeLinear], activation: str) -> EncoderLayer:
    qkv, output, up, down = native
    return replace(
        layer,
        qkv=qkv,
        output=AddedLinear(output),
        up=ActivatedLinear(up, ACTIVATION_FUNCTIONS[activation]),
        down=AddedLinear(down),
    )


def _native(part: Linear | ResidualLinear, pool: NativePool) -> NativeLinear | None:
    linear = part.linear if isinstance(part, (AddedLinear, ActivatedLinear)) else part
    native = to_native(linear, pool)
    return native if isinstance(native, NativeLinear) else None


def _norm(norm: Norm) -> EncoderNormStructure:
    return EncoderNormStructure(_address(norm.weight), _address(norm.bias))


def _address(tensor: torch.Tensor) -> int:
    assert tensor.dtype == torch.float32, "the library reads floats"
    assert tensor.is_contiguous(), "the library knows no strides"
    return tensor.data_ptr()
