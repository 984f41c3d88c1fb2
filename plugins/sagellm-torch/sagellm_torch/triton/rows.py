"""Kernels over rows: norms, gated activations, and what lies between q/k/v and attention."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from sagellm_torch.attention import AttentionConfig

from .kernels import activation, norm, rotary
from .tiles import TileTable, padded

#: The kernel's kinds, by the names that configs use.
KINDS: Mapping[str, str] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "relu": "relu",
}


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, tiles: TileTable) -> torch.Tensor:
    """A new tensor, [T, width]."""
    width = x.shape[-1]
    out = x.new_empty(x.shape)
    norm.rms_norm[(x.shape[0],)](
        out,
        x,
        weight,
        eps,
        x.stride(0),
        WIDTH=width,
        BLOCK=padded(width),
        num_warps=tiles.norm_warps(width),
    )
    return out


def add_rms_norm(
    residual: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, eps: float, tiles: TileTable
) -> torch.Tensor:
    """The norm of ``residual + x``, [T, width]; ``residual`` becomes the sum."""
    width = x.shape[-1]
    out = residual.new_empty(residual.shape)
    norm.add_rms_norm[(x.shape[0],)](
        out,
        residual,
        x,
        weight,
        eps,
        x.stride(0),
        WIDTH=width,
        BLOCK=padded(width),
        num_warps=tiles.norm_warps(width),
    )
    return out


def gated_activation(gate_up: torch.Tensor, name: str, tiles: TileTable) -> torch.Tensor:
    """[T, 2 * width] -> [T, width]."""
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    block = min(tiles.activation_block, padded(width))
    out = gate_up.new_empty((rows, width))
    activation.gated_activation[(rows, -(-width // block))](
        out,
        gate_up,
        gate_up.stride(0),
        WIDTH=width,
        KIND=KINDS[name],
        BLOCK=block,
        num_warps=tiles.activation_warps,
    )
    return out


def rotate_and_write(
    qkv: torch.Tensor,
    rotations: torch.Tensor,
    layer: tuple[torch.Tensor, torch.Tensor],
    places: torch.Tensor,
    config: AttentionConfig,
    qk_norm: torch.Tensor | None,
    eps: float,
    tiles: TileTable,
) -> torch.Tensor:
    """Norm and rotate heads; keys and values go into the cache.

    :param qkv: [T, (num_heads + 2 * num_kv_heads) * head_dim]; queries are changed in place.
    :param rotations: [T, 1, rotary_dim / 2, 2], float32.
    :param places: [T] tokens of the cache; below 0: nothing is written.
    :returns: the queries, [T, num_heads * head_dim]: a view of ``qkv``.
    """
    keys, values = layer
    heads = config.num_heads + 2 * config.num_kv_heads
    rotary.rotate_and_write[(qkv.shape[0], -(-heads // tiles.rotary_heads))](
        qkv,
        keys,
        values,
        rotations,
        qkv if qk_norm is None else qk_norm,
        places,
        eps,
        qkv.stride(0),
        NUM_HEADS=config.num_heads,
        NUM_KV_HEADS=config.num_kv_heads,
        HEAD_DIM=config.head_dim,
        PAIRS=rotations.shape[-2],
        HAS_NORM=qk_norm is not None,
        BLOCK_P=padded(config.head_dim) // 2,
        BLOCK_H=tiles.rotary_heads,
        num_warps=tiles.rotary_warps,
    )
    return qkv[:, : config.num_heads * config.head_dim]


def write(
    key: torch.Tensor,
    value: torch.Tensor,
    layer: tuple[torch.Tensor, torch.Tensor],
    places: torch.Tensor,
    tiles: TileTable,
) -> None:
    """Put keys and values, each [T, num_kv_heads, head_dim], into the cache at their places."""
    keys, values = layer
    key, value = key.flatten(1), value.flatten(1)
    width = key.shape[1]
    rotary.write[(key.shape[0],)](
        key,
        value,
        keys,
        values,
        places,
        key.stride(0),
        value.stride(0),
        WIDTH=width,
        BLOCK=padded(width),
        num_warps=tiles.norm_warps(width),
    )
