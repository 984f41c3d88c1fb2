"""What the attention kernels take of a device that is not here.

Triton compiles for a device without having one. So a table of tiles can be held to the memory that
its device has, and to its registers, on any machine: see ``docs/vendors/triton.md``.
"""

from __future__ import annotations

from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel, compile
from triton.runtime import JITFunction

from .kernels import decode, prefill
from .tiles import AttentionTile, padded

_TYPES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}
_BLOCK_SIZE, _KV_HEADS, _SPLITS = 16, 8, 8


def compile_prefill(
    target: GPUTarget, tile: AttentionTile, head_dim: int, dtype: torch.dtype, groups: int = 4
) -> CompiledKernel:
    """Attention of a prefill. ``.metadata.shared`` is what it takes on the chip, in bytes.

    :param target: the device as triton names it: back end, architecture, threads of a warp.
    :param groups: query heads of a key-value head.
    """
    floats = dict.fromkeys(("out", "query", "keys", "values"), _TYPES[dtype])
    constants = {
        **_constants(tile, head_dim, groups),
        "BLOCK_M": tile.block_m,
    }
    return _compile(target, prefill.attend_prefill, floats, constants, tile)


def compile_decode(
    target: GPUTarget, tile: AttentionTile, head_dim: int, dtype: torch.dtype, groups: int = 4
) -> CompiledKernel:
    """The same of a decode step whose keys are cut into parts."""
    floats = dict.fromkeys(("query", "keys", "values"), _TYPES[dtype])
    floats |= {"out": "*fp32", "peaks": "*fp32"}
    constants = {
        **_constants(tile, head_dim, groups),
        "NUM_HEADS": groups * _KV_HEADS,
        "SPLITS": _SPLITS,
        "BLOCK_G": padded(groups),
    }
    return _compile(target, decode.attend_decode, floats, constants, tile)


def _constants(tile: AttentionTile, head_dim: int, groups: int) -> dict[str, Any]:
    return {
        "GROUPS": groups,
        # With both, there is the most to hold in registers.
        "HAS_CAP": True,
        "HAS_WINDOW": True,
        "WIDEN": False,
        "BLOCK_SIZE": _BLOCK_SIZE,
        "KV_WIDTH": _KV_HEADS * head_dim,
        "HEAD_DIM": head_dim,
        "BLOCK_D": padded(head_dim),
        "BLOCK_N": tile.block_n,
    }


def _compile(
    target: GPUTarget,
    kernel: JITFunction,
    floats: dict[str, str],
    constants: dict[str, Any],
    tile: AttentionTile,
) -> CompiledKernel:
    signature = {}
    aligned = {}
    for index, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in floats:
            signature[name] = floats[name]
        elif name in ("scale", "softcap"):
            signature[name] = "fp32"
        elif name == "window" or name.startswith("stride"):
            signature[name] = "i32"
        else:
            signature[name] = "*i64"
        if name in floats or name.startswith("stride"):
            # As the compiler finds torch's memory, and widths of heads.
            aligned[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    options = {"num_warps": tile.num_warps, "num_stages": tile.num_stages}
    return compile(source, target=target, options=options)
