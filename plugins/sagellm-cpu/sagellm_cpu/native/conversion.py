"""From a decoder that computes with torch's operators to one that is native, behind its back."""

from __future__ import annotations

import atexit
import logging
import weakref
from threading import Thread

import torch
from sagellm_torch import Decoder, DecoderConfig, DenseLinear, Linear, ResidualLinear
from sagellm_torch.linear import DenseEmbedding, EmbeddingTable
from sagellm_torch.weights import DecoderWeights, LayerWeights

from sagellm_cpu.coded_linear import CodedLinear
from sagellm_cpu.packed_linear import PackedLinear, PackedResidualLinear

from .decoder import ACTIVATIONS, NativeDecoder, NativeLayer, NativeWeights
from .library import NativePool
from .linear import NativeLinear
from .weight import NativeWeight, narrowest, pack_codes, pack_dense

_log = logging.getLogger("sagellm.cpu")
_LAYERS = ("qkv", "output", "gate_up", "down")


class NativeEmbedding:
    """Rows of a packed weight."""

    __slots__ = ("weight",)

    def __init__(self, weight: NativeWeight) -> None:
        self.weight = weight

    def lookup(self, tokens: torch.Tensor) -> torch.Tensor:
        """[T] of int64 -> [T, hidden] of float32."""
        return self.weight.unpack_rows(tokens)


class Conversion:
    """Exchanges the layers of one decoder, one at a time, in a thread of its own.

    The decoder goes on with what is there. Each layer that was exchanged is freed, so that the
    weights are never in memory twice.
    """

    def __init__(self, decoder: Decoder, pool: NativePool) -> None:
        self._config = decoder.config
        self._weights = weakref.ref(decoder.weights)
        self._pool = pool
        self._stopped = False
        self._done = False
        #: Why it ended without a native decoder.
        self.problem: str | None = None
        if is_native(decoder.weights):
            self._done = True
            return
        self._thread = Thread(target=self._run, name="sagellm-cpu-convert", daemon=True)
        atexit.register(self.stop)
        self._thread.start()

    def decoder(self) -> NativeDecoder | None:
        """The native decoder, once all layers are."""
        weights = self._weights()
        if not self._done or self.problem is not None or weights is None:
            return None
        return native_decoder(self._config, weights, self._pool)

    def stop(self) -> None:
        """End after the layer that is being exchanged."""
        self._stopped = True
        if not self._done:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._exchange()
        except Exception as error:
            self.problem = f"its weights were not converted: {error}"
            _log.warning(
                "The native decoder is not used: %s. Torch's operators go on computing.",
                self.problem,
            )
        finally:
            self._done = True
            atexit.unregister(self.stop)

    def _exchange(self) -> None:
        for number in range(self._config.num_layers):
            for name in _LAYERS:
                # Held no longer than for one layer: a model that was closed ends this.
                weights = self._weights()
                if weights is None or self._stopped:
                    self.problem = "it was stopped"
                    return
                layer: LayerWeights = weights.layers[number]
                setattr(layer, name, self._native(getattr(layer, name)))
        weights = self._weights()
        if weights is None or weights.head is None:
            return
        tied = isinstance(weights.head, (DenseLinear, PackedLinear, CodedLinear)) and (
            self._config.tie_word_embeddings
        )
        head = self._native(weights.head)
        if tied and isinstance(head, NativeLinear):
            weights.embedding = NativeEmbedding(head.weight)
        weights.head = head

    def _native(self, linear: Linear) -> Linear:
        with torch.no_grad():
            native = to_native(linear, self._pool)
        return native if isinstance(native, NativeLinear) else linear


def to_native(linear: Linear | ResidualLinear, pool: NativePool) -> Linear | ResidualLinear:
    """A native layer over the same weight."""
    library = pool.library
    if isinstance(linear, CodedLinear):
        packed = pack_codes(library, linear.parts, linear.bias, exact=linear.exact)
        return NativeLinear(packed, pool)
    if isinstance(linear, (PackedLinear, PackedResidualLinear, DenseLinear)):
        return NativeLinear(pack_dense(library, narrowest([linear.weight]), linear.bias), pool)
    return linear


def is_native(weights: DecoderWeights) -> bool:
    """Whether all of a decoder's layers are."""
    linears = [getattr(layer, name) for layer in weights.layers for name in _LAYERS]
    linears += [] if weights.head is None else [weights.head]
    return all(isinstance(linear, NativeLinear) for linear in linears)


def native_decoder(
    config: DecoderConfig, weights: DecoderWeights, pool: NativePool
) -> NativeDecoder | None:
    """Over native layers; ``None`` where it cannot compute what the config asks for."""
    if config.activation not in ACTIVATIONS or not is_native(weights):
        return None
    return NativeDecoder(
        config,
        NativeWeights(
            embedding=_table(weights.embedding),
            layers=[_layer(layer) for layer in weights.layers],
            final_norm=weights.final_norm.float().contiguous(),
            head=None if weights.head is None else _packed(weights.head),
        ),
        pool.library.c,
        pool,
    )


def _table(embedding: EmbeddingTable) -> torch.Tensor | None:
    return embedding.table.contiguous() if isinstance(embedding, DenseEmbedding) else None


def _packed(linear: Linear) -> NativeWeight:
    assert isinstance(linear, NativeLinear), "all layers were exchanged"
    return linear.weight


def _layer(layer: LayerWeights) -> NativeLayer:
    def norm(weight: torch.Tensor | None) -> torch.Tensor | None:
        return None if weight is None else weight.float().contiguous()

    return NativeLayer(
        qkv=_packed(layer.qkv),
        output=_packed(layer.output),
        gate_up=_packed(layer.gate_up),
        down=_packed(layer.down),
        attention_norm=layer.attention_norm.float().contiguous(),
        mlp_norm=layer.mlp_norm.float().contiguous(),
        post_attention_norm=norm(layer.post_attention_norm),
        post_mlp_norm=norm(layer.post_mlp_norm),
        qk_norm=norm(layer.qk_norm),
    )
