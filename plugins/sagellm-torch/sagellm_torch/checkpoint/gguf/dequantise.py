"""From ggml's blocks to floats, in torch.

Chunk by chunk, so that what lies between stays in the processor's cache, and straight into the
type that the caller wants. The arithmetic is that of ``dequantize_row_*`` in ggml-quants.c, each
product and sum rounded to float32 in the same order, so that results are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from sagellm_core.contract import UnsupportedModelError

from . import k_quants, legacy_quants
from .ggml_types import GGMLType

#: Writes blocks (uint8 [n, block_bytes]) as float32 [n, block_size].
BlockDecoder = Callable[[torch.Tensor, torch.Tensor], None]

#: Elements per chunk: 1 MiB of float32, about what a core's second cache holds. Smaller chunks
#: spend their time in Python (twice the processor time at 32768), larger ones in memory.
CHUNK_ELEMENTS = 1 << 18

_DECODERS: dict[str, BlockDecoder] = {**legacy_quants.DECODERS, **k_quants.DECODERS}


def dequantise(chunks: Iterator[torch.Tensor], ggml_type: GGMLType, out: torch.Tensor) -> None:
    """Fill ``out`` from successive pieces of a tensor's bytes. Safe from several threads.

    :param chunks: uint8 [n, block_bytes] each, in order; may be one buffer used again and again.
    :param out: of any floating type, [n, block_size]; what it holds is overwritten.
    :raises UnsupportedModelError: nobody knows how to decode the type.
    """
    decode = _DECODERS.get(ggml_type.name) or _library_decoder(ggml_type)
    direct = out.dtype == torch.float32
    scratch = torch.empty(0)
    at = 0
    for chunk in chunks:
        target = out[at : at + len(chunk)]
        at += len(chunk)
        if direct:
            decode(chunk, target)
            continue
        if len(scratch) < len(chunk):
            scratch = torch.empty(len(chunk), ggml_type.block_size)
        decode(chunk, scratch[: len(chunk)])
        target.copy_(scratch[: len(chunk)])


def _library_decoder(ggml_type: GGMLType) -> BlockDecoder:
    # The rare types (IQ, ternary, MXFP4) rest on tables that the gguf library has. It takes
    # 0.15 s to import, so only who needs it waits for it.
    import numpy
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    try:
        kind = GGMLQuantizationType[ggml_type.name]
        dequantize(numpy.zeros((1, ggml_type.block_bytes), numpy.uint8), kind)
    except (KeyError, NotImplementedError) as error:
        raise UnsupportedModelError(
            f"The installed gguf library cannot decode tensors of type {ggml_type.name}.",
            hint="Update it (pip install -U gguf), or quantise the model to Q8_0 or Q4_K.",
        ) from error

    def decode(blocks: torch.Tensor, out: torch.Tensor) -> None:
        out.copy_(torch.from_numpy(dequantize(blocks.numpy(), kind)).view_as(out))

    return decode
