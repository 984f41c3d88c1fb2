from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.config import GeneratorConfig, constructor_signature
from sagellm_core.contract import ConfigurationError, InvalidRequestError, SageLLMError
from sagellm_core.options import call_options

# Field order and defaults of the operator that pipelines were written against.
INHERITED = {
    "backend_type": "auto",
    "model_path": "",
    "device_map": "auto",
    "dtype": "float16",
    "device": "cuda",
    "load_in_8bit": False,
    "load_in_4bit": False,
    "trust_remote_code": False,
    "max_tokens": 2048,
    "max_new_tokens": 128,
    "temperature": 0.7,
    "top_p": 0.95,
    "top_k": 50,
    "engine_id": "",
    "timeout": 120.0,
    "default_options": {},
}


def make(*args: Any, **kwargs: Any) -> GeneratorConfig:
    return GeneratorConfig.from_arguments(args, kwargs)


def limit(*args: Any, **kwargs: Any) -> int | None:
    return call_options(make(*args, **kwargs).call_options()).sampling.max_tokens


def test_the_inherited_fields_keep_their_order_and_defaults() -> None:
    positional = {
        name: parameter.default
        for name, parameter in constructor_signature().parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    }
    assert list(positional.items()) == list(INHERITED.items())
    config = make()
    assert {name: getattr(config, name) for name in INHERITED} == INHERITED


def test_all_sixteen_by_position() -> None:
    values = ("mock", "m", "auto", "float32", "cpu", False, False, False, 64, 32, 0.5, 0.9, 10, "e")
    config = make(*values, 5.0, {"seed": 1})
    assert tuple(getattr(config, name) for name in INHERITED) == (*values, 5.0, {"seed": 1})


def test_one_dict_is_the_whole_configuration() -> None:
    config = make({"backend_type": "cuda", "model_path": "Qwen/Qwen2.5-7B", "max_tokens": 2048})
    assert (config.backend_type, config.model_path) == ("cuda", "Qwen/Qwen2.5-7B")
    assert make({"backend_type": "mock"}, model_path="m").model_path == "m"
    assert make(config) == config


def test_a_path_object_is_a_model_path() -> None:
    assert make(model_path=Path("a") / "b").model_path == str(Path("a") / "b")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"backend_typ": "cpu"}, "backend_type"),
        ({"model": "x"}, "model_path"),
        ({"temprature": 1}, "temperature"),
        ({"zzz": 1}, "Known keys"),
    ],
)
def test_an_unknown_key_suggests_the_nearest(arguments: dict[str, Any], said: str) -> None:
    for config in ((lambda: make(arguments)), (lambda: make(**arguments))):
        with pytest.raises(ConfigurationError, match="Unknown configuration key") as caught:
            config()
        assert said in caught.value.hint


@pytest.mark.parametrize(
    "arguments",
    [
        {"backend_type": 5},
        {"model_path": None},
        {"load_in_8bit": "yes"},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"max_tokens": "5"},
        {"max_new_tokens": 1e9},
        {"max_tokens": 10**9},
        {"max_tokens": None},
        {"max_new_tokens": None},
        {"default_options": {"max_tokens": 10**9}},
        {"temperature": math.nan},
        {"top_p": 2},
        {"top_k": -2},
        {"timeout": 0},
        {"timeout": "5"},
        {"timeout": math.inf},
        {"default_options": {"temprature": 1}},
        {"default_options": {"seed": "x"}},
        {"default_options": 5},
        {"prompt_format": "yaml"},
        {"quantization": "int3"},
        {"max_num_seqs": 0},
        {"load_in_8bit": True, "load_in_4bit": True},
        {"load_in_8bit": True, "quantization": "int4"},
    ],
)
def test_a_wrong_value_is_a_typed_error_that_names_it(arguments: dict[str, Any]) -> None:
    with pytest.raises(SageLLMError) as caught:
        make(**arguments)
    assert isinstance(caught.value, ValueError)
    assert caught.value.hint


def test_too_many_positions_a_dict_beside_others_and_twice() -> None:
    with pytest.raises(ConfigurationError, match="17 positional"):
        make(*INHERITED.values(), "more")
    with pytest.raises(ConfigurationError, match="only positional"):
        make({"backend_type": "mock"}, "m")
    with pytest.raises(ConfigurationError, match="backend_type was given twice"):
        make("mock", backend_type="cpu")


def test_only_limits_that_were_set_are_limits() -> None:
    assert limit() is None
    assert limit(max_tokens=2048) == 2048
    assert limit(max_new_tokens=128) == 128
    assert limit(max_tokens=512) == 512
    assert limit(max_tokens=512, max_new_tokens=64) == 64
    assert limit(max_new_tokens=4096) == 4096
    assert limit(max_tokens=512, default_options={"max_tokens": 7}) == 7


def test_options_of_a_call_lie_over_each_other() -> None:
    base = make(max_tokens=100, temperature=0.5, default_options={"top_k": 7}).call_options()
    chosen = call_options(base, {"temperature": 0, "seed": 3}, {"max_new_tokens": 5})
    assert chosen.sampling.max_tokens == 5
    assert chosen.sampling.greedy
    assert (chosen.sampling.top_k, chosen.sampling.seed) == (7, 3)
    assert chosen.timeout == 120.0
    assert call_options(base, {"max_tokens": 9, "max_new_tokens": 5}).sampling.max_tokens == 5
    assert call_options(base, {"timeout": None}).timeout is None


def test_minus_one_is_no_top_k() -> None:
    assert call_options({}, {"top_k": -1}).sampling.top_k == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_token": 5}, "max_tokens"),
        ({"max_new_tokens": 0}, "max_new_tokens must be"),
        ({"timeout": -1}, "timeout must be"),
        ({"priority": "high"}, "Smaller"),
        ({"prompt_format": "x"}, "auto"),
        ({"top_p": 2}, "top_p must be"),
    ],
)
def test_a_wrong_option_of_a_call(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call_options({}, options)
    assert said in caught.value.hint


def test_what_a_device_index_is() -> None:
    assert make().device_index is None
    assert make(device="npu").device_index is None
    assert make(device="npu:2").device_index == 2
    with pytest.raises(ConfigurationError):
        _ = make(device="npu:x").device_index


def test_a_dtype_nobody_set_is_no_wish() -> None:
    assert make().wanted_dtype == "auto"
    assert make(dtype="float16").wanted_dtype == "float16"


def test_the_schema_describes_every_field() -> None:
    properties = GeneratorConfig.model_json_schema()["properties"]
    assert [name for name, schema in properties.items() if not schema.get("description")] == []
