"""Weights of few bits: rounding, GGUF blocks as they are, merging, and what users are told."""

from __future__ import annotations

import pytest
import torch
from gguf import GGMLQuantizationType, quants
from hypothesis import given, settings
from hypothesis import strategies as st
from sagellm_torch import load_model
from sagellm_torch.checkpoint.gguf.codes import READERS, CodeBuffers
from sagellm_torch.quantization import (
    QuantizationPlan,
    QuantizedWeight,
    alike,
    quantise_int4,
    quantise_int8,
)

from sagellm_core.contract import ConfigurationError, LoadOptions, UnsupportedOptionError
from sagellm_core.models import describe


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=40)
@given(
    out=st.integers(1, 40),
    groups=st.integers(1, 4),
    scale=st.floats(1e-6, 1e6),
    seed=st.integers(0, 100),
)
def test_rounding_stays_within_half_a_step(out, groups, scale, seed) -> None:
    weight = _random(out, 32 * groups, seed=seed) * scale
    eight = quantise_int8(weight)
    half = eight.scales / 2 * 1.001
    assert ((eight.dequantise() - weight).abs() <= half).all()
    four = quantise_int4(weight)
    # The range may be cut by a fifth, so that what lies outside is further away.
    spread = weight.view(out, groups, 32)
    width = (spread.amax(-1) - spread.amin(-1)).unsqueeze(-1)
    error = (four.dequantise() - weight).view(out, groups, 32).abs()
    assert (error <= width * 0.11).all()
    plain = (width / 15 / 12**0.5).square()
    assert (error.square().mean() <= plain.mean() * 1.7).all()


def test_constants_and_zeros_are_exact() -> None:
    weight = torch.zeros(3, 64)
    weight[1] = 2.5
    assert torch.equal(quantise_int4(weight).dequantise(), weight)
    torch.testing.assert_close(quantise_int8(weight).dequantise(), weight)
    barely = torch.zeros(1, 32)
    barely[0, 0] = 1e-42
    for rounded in (quantise_int8(barely), quantise_int4(barely)):
        assert not rounded.codes.any()


def test_4_bit_scales_of_common_weights_fit_into_16_bits() -> None:
    made = quantise_int4(_random(40, 256) / 16)
    for numbers in (made.scales, made.mins):
        assert torch.equal(numbers.half().float(), numbers)


@pytest.mark.parametrize("name", READERS)
def test_blocks_of_a_file_keep_their_numbers(name) -> None:
    """To the last bit of what the gguf library makes of them."""
    kind = GGMLQuantizationType[name]
    rows, inputs = 5, 512
    made = torch.Generator().manual_seed(4)
    block, size = {"Q4_K": (256, 144), "Q5_K": (256, 176)}.get(
        name, (32, {"Q8_0": 34, "Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24}.get(name, 0))
    )
    count = rows * inputs // block
    blocks = torch.randint(0, 256, (count, size), dtype=torch.uint8, generator=made)
    halves = 2 if name in ("Q4_1", "Q5_1", "Q4_K", "Q5_K") else 1
    blocks[:, : 2 * halves] = torch.rand(count, halves, generator=made).half().view(torch.uint8)
    buffers = CodeBuffers(name, (rows, inputs))
    buffers.add(3, blocks[3:])
    buffers.add(0, blocks[:3])
    expected = torch.from_numpy(quants.dequantize(blocks.numpy(), kind)).view(rows, inputs)
    torch.testing.assert_close(buffers.weight.dequantise(), expected, atol=1e-7, rtol=1e-6)
    if name in ("Q8_0", "Q4_1", "Q5_0"):
        assert torch.equal(buffers.weight.dequantise(), expected)


def test_rows_are_moved_and_layers_split() -> None:
    weight = quantise_int4(_random(9, 64))
    numbers = weight.dequantise()
    order = torch.tensor([4, 0, 8])
    assert torch.equal(weight.reordered(lambda rows: rows[order]).dequantise(), numbers[order])
    parts = weight.split([2, 7])
    assert torch.equal(torch.cat([part.dequantise() for part in parts]), numbers)


def test_unlike_layers_are_merged_without_loss() -> None:
    weight = _random(6, 64)
    parts = [quantise_int8(weight), quantise_int4(weight), quantise_int8(weight, 32)]
    merged = alike(parts)
    assert {(part.bits, part.group, part.mins is None) for part in merged} == {(8, 32, False)}
    for one, other in zip(merged, parts, strict=True):
        assert torch.equal(one.dequantise(), other.dequantise())
    mixed = alike([weight, parts[1]])
    assert torch.equal(mixed[1], parts[1].dequantise())


def test_what_becomes_of_a_weight() -> None:
    weight = _random(4, 64)
    plan = QuantizationPlan("none", keeps_codes=True)
    assert plan.part(weight, "BF16") is weight
    assert (plan.used, plan.notes()) == ("none", [])
    assert plan.part(weight, "Q6_K") is weight
    assert "Q6_K" in plan.notes()[0]
    plan = QuantizationPlan("int8", keeps_codes=True)
    codes = QuantizedWeight(
        bits=8, group=32, codes=torch.zeros(4, 64, dtype=torch.int8), scales=torch.ones(4, 2)
    )
    assert plan.part(codes, "Q8_0") is codes
    again = plan.part(weight, "Q6_K")
    assert isinstance(again, QuantizedWeight)
    assert (again.bits, again.group, plan.used) == (8, 32, "int8+q8_0")
    assert len(plan.notes()) == 2
    restored = QuantizationPlan("int8", keeps_codes=True)
    restored.restore(plan.record())
    assert (restored.used, restored.notes()) == (plan.used, plan.notes())
    for inputs, group in ((128, 64), (96, 32), (50, 50)):
        rounded = QuantizationPlan("int8").part(_random(4, inputs), "BF16")
        assert isinstance(rounded, QuantizedWeight)
        assert (rounded.bits, rounded.group) == (8, group)
    plan = QuantizationPlan("int4", keeps_codes=True)
    four = plan.part(weight, "F32")
    assert isinstance(four, QuantizedWeight)
    assert (four.bits, plan.used) == (4, "int4")
    head = plan.part(weight, "F32", head=True)
    assert isinstance(head, QuantizedWeight)
    assert head.bits == 8
    odd = plan.part(_random(4, 50), "F32")
    assert isinstance(odd, QuantizedWeight)
    assert (odd.bits, odd.group) == (8, 50)
    assert "no multiple of 32" in plan.notes()[0]


def test_the_stamp_names_what_most_weights_became() -> None:
    """A file of 8 bits whose layers are rounded to 4 keeps only its output layer."""
    codes = QuantizedWeight(
        bits=8, group=32, codes=torch.zeros(4, 64, dtype=torch.int8), scales=torch.ones(4, 2)
    )
    plan = QuantizationPlan("int4", keeps_codes=True)
    assert plan.part(codes, "Q8_0", head=True) is codes
    assert plan.used == "q8_0"
    plan.part(codes, "Q8_0")
    assert plan.used == "int4+q8_0"
    assert plan.notes()[-1] == (
        "Weights of the types Q8_0 were rounded again, to int4, but for the output layer."
    )
    plan = QuantizationPlan("int8", keeps_codes=True)
    plan.part(codes, "Q8_0")
    plan.part(_random(4, 64), "F16")
    assert plan.used == "int8+q8_0"


def test_a_device_that_only_rounds_says_so() -> None:
    plan = QuantizationPlan("int8")
    plan.part(_random(4, 64), "BF16")
    assert "neither time nor memory" in plan.notes()[0]


def test_quantizations_by_name(tiny_model, plain_adapter) -> None:
    path = tiny_model("llama").path
    with pytest.raises(ConfigurationError, match="int3") as unknown:
        load_model(describe(path), plain_adapter(), LoadOptions(quantization="int3"))
    assert "none, int8, int4" in unknown.value.hint
    with pytest.raises(UnsupportedOptionError, match="int8") as refused:
        load_model(describe(path), plain_adapter(), LoadOptions(quantization="int8"))
    assert "offers: none" in refused.value.hint
