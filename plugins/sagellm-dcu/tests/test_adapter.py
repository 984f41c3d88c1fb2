"""The adapter of a DCU; nothing here starts HIP."""

from __future__ import annotations

import pytest
import torch
from sagellm_dcu.adapter import DCUAdapter
from sagellm_dcu.tiles import TILES
from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import ConfigurationError, DeviceUnavailableError

BUILD = TorchBuild("2.4.1+das.opt1.dtk25041", {"hip": "6.1.25082"})


def _adapter(**options: object) -> DCUAdapter:
    return DCUAdapter("cuda:0", options, BUILD)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (TorchBuild("2.13.0+cu130", {"cuda": "13.0"}), "is a build for cuda, not for HIP"),
        (TorchBuild("2.13.0+cpu", {}), "is a build without HIP"),
    ],
)
def test_any_other_build_of_torch_is_refused(build, words) -> None:
    with pytest.raises(DeviceUnavailableError, match=words) as caught:
        DCUAdapter("cuda:0", {}, build)
    assert "DTK" in caught.value.hint


@pytest.mark.skipif(torch.version.hip is not None, reason="this torch is built for HIP")
def test_it_refuses_the_torch_that_is_here() -> None:
    with pytest.raises(DeviceUnavailableError):
        DCUAdapter("cuda:0")


def test_it_takes_its_own_tiles() -> None:
    assert _adapter().tiles is TILES


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        ("auto", torch.float16, torch.float16),
        ("auto", torch.float32, torch.float16),
        ("auto", None, torch.float16),
        ("bfloat16", torch.float32, torch.bfloat16),
        ("float32", torch.bfloat16, torch.float32),
    ],
)
def test_what_it_computes_in(asked, stored, expected) -> None:
    choice = _adapter().choose_dtype(asked, stored)
    assert (choice.dtype, choice.note) == (expected, "")


def test_bfloat16_weights_become_float16_and_it_says_so() -> None:
    choice = _adapter().choose_dtype("auto", torch.bfloat16)
    assert choice.dtype is torch.float16
    assert "65,504" in choice.note


@pytest.mark.parametrize("options", [{}, {"graphs": "auto"}, {"graphs": "off"}])
def test_steps_are_recorded_for_who_asks(options) -> None:
    assert _adapter(**options).recorder() is None


def test_an_unknown_option() -> None:
    with pytest.raises(ConfigurationError) as caught:
        _adapter(tiles=3)
    assert caught.value.hint == "This provider knows: graphs, triton."


def test_a_dcu_that_is_gone_is_not_asked() -> None:
    words = "HIP error: an illegal memory access was encountered"
    assert _adapter().is_lost(RuntimeError(words))
    assert _adapter().is_out_of_memory(RuntimeError("HIP out of memory. Tried to allocate"))
