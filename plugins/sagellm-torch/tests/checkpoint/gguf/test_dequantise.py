"""Our decoders against the gguf library's, to the last bit."""

from __future__ import annotations

import gguf
import numpy
import pytest
import torch
from gguf import GGMLQuantizationType
from hypothesis import given, settings
from hypothesis import strategies as st
from sagellm_torch.checkpoint.gguf.dequantise import dequantise
from sagellm_torch.checkpoint.gguf.ggml_types import GGML_TYPES, GGMLType

from sagellm_core.contract import UnsupportedModelError

TYPES = sorted(GGML_TYPES.values(), key=lambda each: each.id)


def decoded(blocks: numpy.ndarray, ggml_type: GGMLType, dtype=torch.float32, pieces=1):
    out = torch.empty(len(blocks), ggml_type.block_size, dtype=dtype)
    dequantise(torch.from_numpy(blocks).tensor_split(pieces), ggml_type, out)
    return out


def random_blocks(ggml_type: GGMLType, count: int, seed: int) -> numpy.ndarray:
    return numpy.random.default_rng(seed).integers(
        0, 256, (count, ggml_type.block_bytes), numpy.uint8
    )


def theirs(blocks: numpy.ndarray, ggml_type: GGMLType) -> torch.Tensor:
    with numpy.errstate(all="ignore"):
        values = gguf.dequantize(blocks, GGMLQuantizationType(ggml_type.id))
    return torch.from_numpy(numpy.array(values)).view(len(blocks), -1)


def test_sizes_are_those_of_the_library():
    for each in TYPES:
        assert gguf.GGML_QUANT_SIZES[GGMLQuantizationType(each.id)] == (
            each.block_size,
            each.block_bytes,
        )


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize("ggml_type", TYPES, ids=lambda each: each.name)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_bytes(ggml_type, seed):
    blocks = random_blocks(ggml_type, 70, seed)
    torch.testing.assert_close(
        decoded(blocks, ggml_type, pieces=3),
        theirs(blocks, ggml_type),
        rtol=0,
        atol=0,
        equal_nan=True,
    )


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "BF16"])
def test_quantised_weights_come_back(name):
    ggml_type = next(each for each in TYPES if each.name == name)
    weights = numpy.random.default_rng(1).standard_normal((40, 256)).astype(numpy.float32)
    stored = gguf.quantize(weights, GGMLQuantizationType[name])
    blocks = stored.view(numpy.uint8).reshape(-1, ggml_type.block_bytes)
    back = decoded(blocks, ggml_type).reshape(40, 256)
    assert numpy.abs(back.numpy() - weights).max() < 0.5
    for dtype in (torch.float16, torch.bfloat16):
        narrow = decoded(blocks, ggml_type, dtype, pieces=4)
        assert torch.equal(narrow.reshape(40, 256), back.to(dtype))


def test_a_type_that_nobody_decodes_is_named():
    strange = GGMLType(99, "Q9_Z", 32, 20)
    with pytest.raises(UnsupportedModelError, match="Q9_Z"):
        decoded(numpy.zeros((1, 20), numpy.uint8), strange)
