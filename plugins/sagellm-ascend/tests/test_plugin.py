"""The hooks, called as core calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sagellm_ascend import plugin
from sagellm_ascend.adapter import NPUAdapter
from sagellm_ascend.testing import StandInRuntime
from sagellm_torch import load_model

from sagellm_core.contract import (
    DeviceClass,
    DeviceInfo,
    DeviceLostError,
    DeviceOutOfMemoryError,
    DeviceState,
    LoadOptions,
    LoadVerdict,
    ModelDescription,
    ModelFormat,
    PrefillRow,
    RunnerConfig,
    SamplingParams,
    SlotStart,
    UnsupportedOptionError,
)

_NPU = DeviceInfo(id="npu:0", state=DeviceState.USABLE)
_LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 128,
}


def _described(config: dict[str, Any], **changes: Any) -> ModelDescription:
    return ModelDescription(
        **{
            "reference": "somewhere/model",
            "format": ModelFormat.SAFETENSORS,
            "path": Path("somewhere/model"),
            "model_type": config["model_type"],
            "architecture": config["architectures"][0],
            "config": config,
            **changes,
        }
    )


def test_who_we_are() -> None:
    info = plugin.sagellm_plugin_info()
    assert (info.name, info.device_class) == ("ascend", DeviceClass.ACCELERATOR)
    assert info.capabilities == {"generate", "logprobs", "embed"}


def test_decoders_are_counted_in_half_precision() -> None:
    answer = plugin.sagellm_can_load(_described(_LLAMA, weight_dtype="float32"), _NPU)
    assert (answer.verdict, answer.capabilities) == (LoadVerdict.YES, None)
    weights = 2 * (4 * 64 * 64 + 3 * 64 * 96) + 2 * 100 * 64
    assert answer.bytes_needed == 2 * (weights + 512 * 2 * 2 * 64)


@pytest.mark.parametrize(("dtype", "each"), [("float32", 4), ("float16", 2)])
def test_encoders_stay_as_they_are(dtype, each) -> None:
    bert = {**_LLAMA, "model_type": "bert", "architectures": ["BertModel"]}
    answer = plugin.sagellm_can_load(_described(bert, weight_dtype=dtype), _NPU)
    assert (answer.verdict, answer.capabilities) == (LoadVerdict.YES, {"embed"})
    assert answer.bytes_needed == each * 64 * (2 * (4 * 64 + 2 * 96) + 100 + 128 + 2)


def test_what_the_kit_does_not_cover() -> None:
    config = {**_LLAMA, "model_type": "rwkv", "architectures": ["RwkvForCausalLM"]}
    answer = plugin.sagellm_can_load(_described(config), _NPU)
    assert answer.verdict is LoadVerdict.NO
    assert "RwkvForCausalLM" in answer.reason
    model = ModelDescription(reference="anything", format=ModelFormat.UNRESOLVED)
    assert plugin.sagellm_can_load(model, _NPU).verdict is LoadVerdict.NO


def test_an_npu_that_fails_is_told(sim, tiny) -> None:
    model = load_model(
        tiny("llama").description, NPUAdapter("sim", StandInRuntime()), LoadOptions()
    )
    runner = plugin.sagellm_open_runner(
        model, RunnerConfig(max_slots=2, max_model_len=64, num_blocks=4)
    )

    def prefill(slot: int) -> None:
        begin = SlotStart(sampling=SamplingParams(temperature=0, seed=0), prompt_len=3)
        row = PrefillRow(slot=slot, token_ids=[3, 4, 5], start=0, new_blocks=(slot,), begin=begin)
        runner.prefill([row]).result()

    prefill(0)
    sim.fail_next("out_of_memory", after=10)
    with pytest.raises(DeviceOutOfMemoryError):
        prefill(1)
    prefill(1)
    sim.fail_next("device_lost", after=10)
    with pytest.raises(DeviceLostError):
        prefill(0)


def test_quantizations_are_not_offered(sim, tiny) -> None:
    adapter = NPUAdapter("sim", StandInRuntime())
    with pytest.raises(UnsupportedOptionError, match="int8"):
        load_model(tiny("llama").description, adapter, LoadOptions(quantization="int8"))
