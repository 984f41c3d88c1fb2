"""Every call that the adapter makes, held against torch_npu's own schemas and Meta kernels."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any

import pytest
import torch
from sagellm_ascend import operators
from sagellm_ascend.runtime import check_operators, takes
from sagellm_ascend.testing import StandInOperators


def _schema(table: Any, name: str) -> Any:
    return getattr(table, name).default._schema


def _same(ours: Any, theirs: Any) -> bool:
    """Shapes and types of what an operator gave."""
    if isinstance(ours, (tuple, list)):
        alike = isinstance(theirs, (tuple, list)) and len(ours) == len(theirs)
        return alike and all(map(_same, ours, theirs))
    if isinstance(ours, torch.Tensor):
        return (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    return ours is None and theirs is None


def test_the_adapter_calls_every_operator(calls) -> None:
    counts = Counter(call.name for call in calls)
    assert set(counts) == set(operators.NAMES)
    attention = [call for call in calls if call.name == "npu_fused_infer_attention_score"]
    seen = {
        (
            call.named["input_layout"],
            call.named.get("sparse_mode", 0),
            "block_table" in call.named,
            "atten_mask" in call.named,
        )
        for call in attention
    }
    # Packed and alone; causal and within a window; new keys and those of the cache; and single
    # queries, with a mask where a window hides something.
    assert seen == {
        *(("TND", mode, paged, True) for mode in (3, 4) for paged in (False, True)),
        *(("BSND", mode, paged, True) for mode in (3, 4) for paged in (False, True)),
        ("BSND", 0, True, False),
        ("BSND", 0, True, True),
    }


def test_torch_npu_takes_every_call_and_gives_the_same_shapes(calls, table) -> None:
    assert len(calls) > 300
    for call in calls:
        theirs = call.repeat(getattr(table, call.name))
        assert _same(call.result, theirs), (call, theirs)


@pytest.mark.parametrize("name", operators.NAMES)
def test_there_is_a_meta_kernel(name, table) -> None:
    assert torch._C._dispatch_has_kernel_for_dispatch_key(_schema(table, name).name, "Meta")


@pytest.mark.parametrize("name", operators.NAMES)
def test_our_arguments_are_theirs(name, table) -> None:
    theirs = {each.name: each for each in _schema(table, name).arguments}
    for kind in (operators.Operators, StandInOperators):
        ours = list(inspect.signature(getattr(kind, name)).parameters.values())[1:]
        positional = [each.name for each in ours if each.kind is not each.KEYWORD_ONLY]
        assert positional == list(theirs)[: len(positional)]
        for each in ours:
            there = theirs[each.name]
            if each.kind is each.KEYWORD_ONLY:
                assert there.kwarg_only
            if each.default is not each.empty:
                assert there.has_default_value()
                assert there.default_value == pytest.approx(each.default)


def test_an_argument_that_is_not_theirs_is_refused(calls, table) -> None:
    call = next(each for each in calls if each.name == "npu_fused_infer_attention_score")
    with pytest.raises(RuntimeError, match="attention_mask"):
        table.npu_fused_infer_attention_score(*call.arguments, **call.named, attention_mask=None)


def test_a_call_without_heads_is_refused(calls, table) -> None:
    call = next(each for each in calls if each.name == "npu_fused_infer_attention_score")
    with pytest.raises(RuntimeError, match="greater than 0"):
        table.npu_fused_infer_attention_score(*call.arguments, **{**call.named, "num_heads": 0})


def test_the_runtime_recognises_them(table) -> None:
    check_operators(table)
    assert takes(table, "npu_scatter_pa_kv_cache", "cache_mode")
    assert not takes(table, "npu_swiglu", "cache_mode")
