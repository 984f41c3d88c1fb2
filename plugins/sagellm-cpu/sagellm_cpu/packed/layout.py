"""A decoder's packed weights as a list of tensors with a description, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sagellm_torch.linear import DenseEmbedding, EmbeddingTable
from sagellm_torch.weights import DecoderWeights, LayerWeights

from sagellm_cpu.native.conversion import NativeEmbedding, is_native
from sagellm_cpu.native.library import NativePool
from sagellm_cpu.native.linear import NativeLinear
from sagellm_cpu.native.weight import NativeWeight

_LINEARS = ("qkv", "output", "gate_up", "down")
_NORMS = ("attention_norm", "mlp_norm", "post_attention_norm", "post_mlp_norm", "qk_norm")

Tensors = dict[str, torch.Tensor]


def take_apart(weights: DecoderWeights) -> tuple[dict[str, Any], Tensors] | None:
    """Fields of the packed weights by name, and all tensors by name.

    ``None``: something in it is not packed.
    """
    if not is_native(weights):
        return None
    fields: dict[str, Any] = {}
    tensors: Tensors = {"final_norm": weights.final_norm}
    if isinstance(weights.embedding, DenseEmbedding):
        tensors["embedding"] = weights.embedding.table
    for number, layer in enumerate(weights.layers):
        for name in _LINEARS:
            _add(f"{number}.{name}", getattr(layer, name), fields, tensors)
        for name in _NORMS:
            norm = getattr(layer, name)
            if norm is not None:
                tensors[f"{number}.{name}"] = norm
    if weights.head is not None:
        _add("head", weights.head, fields, tensors)
    return fields, tensors


def _add(name: str, linear: Any, fields: dict[str, Any], tensors: Tensors) -> None:
    weight: NativeWeight = linear.weight
    fields[name] = weight.fields
    for part, tensor in weight.tensors().items():
        tensors[f"{name}:{part}"] = tensor


def put_together(
    fields: Mapping[str, Any], tensors: Tensors, layers: int, pool: NativePool
) -> DecoderWeights:
    """The reverse of :func:`take_apart`.

    :raises KeyError: something is missing.
    :raises ValueError: the fields are not those of a weight.
    """

    def linear(name: str) -> NativeLinear:
        parts = {
            part: tensors[f"{name}:{part}"]
            for part in ("data", "scales", "mins", "bias")
            if f"{name}:{part}" in tensors
        }
        return NativeLinear(NativeWeight.restored(pool.library, fields[name], parts), pool)

    head = linear("head") if "head" in fields else None
    table = tensors.get("embedding")
    made = [
        LayerWeights(
            qkv=linear(f"{number}.qkv"),
            output=linear(f"{number}.output"),
            gate_up=linear(f"{number}.gate_up"),
            down=linear(f"{number}.down"),
            attention_norm=tensors[f"{number}.attention_norm"],
            mlp_norm=tensors[f"{number}.mlp_norm"],
            post_attention_norm=tensors.get(f"{number}.post_attention_norm"),
            post_mlp_norm=tensors.get(f"{number}.post_mlp_norm"),
            qk_norm=tensors.get(f"{number}.qk_norm"),
        )
        for number in range(layers)
    ]
    embedding: EmbeddingTable
    if table is not None:
        embedding = DenseEmbedding(table)
    else:
        if head is None:
            raise KeyError("embedding")
        embedding = NativeEmbedding(head.weight)
    return DecoderWeights(
        embedding=embedding,
        layers=made,
        final_norm=tensors["final_norm"],
        head=head,
    )
