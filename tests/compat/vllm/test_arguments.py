"""vLLM's engine arguments: honoured, without effect, or refused; never lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.compat.vllm import LLM
from sagellm_core.compat.vllm.arguments import _KNOWN, _ONLY, _WITHOUT_EFFECT, read_arguments
from sagellm_core.compat.vllm.defaults import recommended_sampling
from sagellm_core.contract import ConfigurationError, ModelFormatError, UnsupportedOptionError

DOCS = Path(__file__).parents[3] / "docs" / "vllm.md"


def test_limits_reach_the_generator_under_their_own_names() -> None:
    read = read_arguments(
        "m",
        {
            "max_model_len": 128,
            "max_num_seqs": 4,
            "max_num_batched_tokens": 64,
            "block_size": 8,
            "num_gpu_blocks_override": 99,
            "kv_cache_memory_bytes": 1 << 20,
            "enable_prefix_caching": False,
            "dtype": "half",
            "quantization": "int8",
            "backend_type": "mock",
        },
    )
    assert read.generator == {
        "model_path": "m",
        "timeout": None,
        "max_model_len": 128,
        "max_num_seqs": 4,
        "max_prefill_tokens": 64,
        "block_size": 8,
        "num_blocks": 99,
        "kv_memory_bytes": 1 << 20,
        "prefix_cache": False,
        "dtype": "float16",
        "quantization": "int8",
        "backend_type": "mock",
    }
    assert not read.embeds


class _Dtype:
    def __str__(self) -> str:
        return "torch.bfloat16"


@pytest.mark.parametrize(
    ("dtype", "ours"), [("float", "float32"), ("bfloat16", "bfloat16"), (_Dtype(), "bfloat16")]
)
def test_types_of_torch_and_vllms_names_for_them_are_understood(dtype: Any, ours: str) -> None:
    assert read_arguments("m", {"dtype": dtype}).generator["dtype"] == ours
    assert "dtype" not in read_arguments("m", {"dtype": "auto"}).generator


@pytest.mark.parametrize(
    "arguments",
    [
        {"tensor_parallel_size": 2},
        {"tensor_parallel_size": True},
        {"pipeline_parallel_size": 2},
        {"quantization": "awq"},
        {"quantization": "fp8"},
        {"tokenizer": "other/tokenizer"},
        {"tokenizer_mode": "slow"},
        {"kv_cache_dtype": "fp8"},
        {"load_format": "dummy"},
        {"task": "classify"},
        {"enable_lora": True},
        {"hf_overrides": {"rope_theta": 1}},
        {"max_logprobs": 50},
        {"limit_mm_per_prompt": {"image": 1}},
    ],
)
def test_what_would_change_answers_is_refused_by_name(arguments: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedOptionError, match=next(iter(arguments))) as caught:
        read_arguments("m", arguments)
    assert caught.value.hint


@pytest.mark.parametrize("name", sorted(_ONLY))
def test_the_neutral_value_of_each_of_them_passes(name: str) -> None:
    for value in _ONLY[name][0]:
        read_arguments("m", {name: value})


def test_an_unknown_argument_suggests_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="max_model_length") as caught:
        read_arguments("m", {"max_model_length": 1})
    assert "'max_model_len'" in caught.value.hint
    for model in ("", None, 3):
        with pytest.raises(ConfigurationError, match="model="):
            read_arguments(model, {})
    with pytest.raises(ConfigurationError, match="seed"):
        read_arguments("m", {"seed": "1"})


def test_a_revision_is_part_of_a_hub_reference_and_nothing_of_a_directory(tmp_path: Path) -> None:
    read = read_arguments("org/name", {"revision": "v1", "tokenizer_revision": "v1"})
    assert read.generator["model_path"] == "org/name@v1"
    assert read_arguments(str(tmp_path), {"revision": "v1"}).generator["model_path"] == str(
        tmp_path
    )
    assert read_arguments("m", {"tokenizer": "m"}).generator["model_path"] == "m"
    with pytest.raises(UnsupportedOptionError, match="tokenizer_revision"):
        read_arguments("org/name", {"revision": "v1", "tokenizer_revision": "v2"})


@pytest.mark.parametrize(
    "arguments",
    [{"task": "embed"}, {"task": "embedding"}, {"runner": "pooling"}, {"convert": "embed"}],
)
def test_each_way_to_ask_for_embeddings_is_understood(arguments: dict[str, Any]) -> None:
    assert read_arguments("m", arguments).embeds


def test_calls_without_parameters_use_what_the_model_recommends(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    assert recommended_sampling("auto", model, {}).temperature == 1.0
    config = {"temperature": 0.6, "top_p": 0.9, "top_k": 20, "eos_token_id": 2, "do_sample": True}
    (model / "generation_config.json").write_text(json.dumps(config | {"max_new_tokens": 99}))
    auto = recommended_sampling("auto", model, {})
    assert (auto.temperature, auto.top_p, auto.top_k, auto.max_tokens) == (0.6, 0.9, 20, 99)
    assert recommended_sampling("vllm", model, {}).temperature == 1.0
    assert recommended_sampling("auto", model, {"temperature": 0.1}).temperature == 0.1
    assert recommended_sampling(str(model), None, {}).top_k == 20
    assert recommended_sampling("auto", model / "model.gguf", {}).temperature == 1.0
    with pytest.raises(ConfigurationError, match="generation_config"):
        recommended_sampling(str(tmp_path), None, {})


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "[" * 100_000, "\xff"])
def test_a_broken_generation_config_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "generation_config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelFormatError, match=r"generation_config\.json"):
        recommended_sampling("auto", tmp_path, {})


def test_generation_overrides_reach_a_call(mock_llm: Callable[..., LLM]) -> None:
    llm = mock_llm(override_generation_config={"temperature": 0, "max_new_tokens": 2})
    assert llm.get_default_sampling_params().max_tokens == 2
    assert len(llm.generate("Hello")[0].outputs[0].token_ids) == 2


def test_the_page_names_every_argument_that_is_known() -> None:
    named = set(re.findall(r"`(\w+)`", DOCS.read_text()))
    assert not {name for name in _KNOWN if name not in named}
    assert not _WITHOUT_EFFECT & set(_ONLY)
