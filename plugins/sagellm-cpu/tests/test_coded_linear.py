"""Layers whose weights stay codes until there are kernels."""

from __future__ import annotations

import pytest
import torch
from sagellm_cpu.coded_linear import CodedEmbedding, CodedLinear
from sagellm_cpu.footprint import bytes_per_weight
from sagellm_torch.quantization import quantise_int4, quantise_int8


def _weight(out: int, inputs: int) -> torch.Tensor:
    return torch.randn(out, inputs, generator=torch.Generator().manual_seed(out)) / 16


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("with_bias", [True, False])
def test_products_are_those_of_the_numbers(rows, with_bias) -> None:
    # The second one is computed in several pieces.
    parts = [quantise_int4(_weight(48, 64)), quantise_int4(_weight(2500, 64))]
    bias = torch.randn(2548) if with_bias else None
    layer = CodedLinear(parts, bias, exact=False)
    x = torch.randn(rows, 64)
    numbers = torch.cat([part.dequantise() for part in parts]).double()
    exact = x.double() @ numbers.T + (0 if bias is None else bias.double())
    torch.testing.assert_close(layer(x), exact.float(), atol=1e-5, rtol=1e-5)


def test_it_holds_nothing_but_codes() -> None:
    layer = CodedLinear([quantise_int4(_weight(2048, 256))], None, exact=False)
    layer(torch.randn(3, 256))
    held = [getattr(layer, name) for name in layer.__slots__]
    assert not any(isinstance(part, torch.Tensor) for part in held)
    assert layer.nbytes == 2048 * 256 * 0.75
    for native in (True, False):
        assert bytes_per_weight("int4", "F32", native=native, codes=True) == 0.75


@pytest.mark.parametrize("quantise", [quantise_int8, quantise_int4])
def test_an_embedding_gives_the_rows_of_its_tokens(quantise) -> None:
    weight = quantise(_weight(100, 64))
    tokens = torch.tensor([7, 0, 99, 7])
    assert torch.equal(CodedEmbedding(weight).lookup(tokens), weight.dequantise()[tokens])
