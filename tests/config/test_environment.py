"""A variable for every field."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sagellm_core.config import FIELDS, VARIABLES, GeneratorConfig, resolve, unknown_variables
from sagellm_core.config.environment import read_environment
from sagellm_core.contract import ConfigurationError

#: Field to a text and what it means; every field must be here.
SAMPLES: dict[str, tuple[str, Any]] = {
    "backend_type": ("mock", "mock"),
    "model_path": (" org/name ", "org/name"),
    "device_map": ("auto", "auto"),
    "dtype": ("bfloat16", "bfloat16"),
    "device": ("npu:1", "npu:1"),
    "load_in_8bit": ("yes", True),
    "load_in_4bit": ("Off", False),
    "trust_remote_code": ("0", False),
    "max_tokens": ("64", 64),
    "max_new_tokens": ("+32", 32),
    "temperature": ("0", 0.0),
    "top_p": (".5", 0.5),
    "top_k": ("-1", -1),
    "engine_id": ("mine", "mine"),
    "timeout": ("none", None),
    "default_options": ('{"seed": 1}', {"seed": 1}),
    "prompt_format": ("raw", "raw"),
    "system_prompt": (" Be brief. ", " Be brief. "),
    "quantization": ("int8", "int8"),
    "on_error": ("record", "record"),
    "provider_options": ('{"threads": 2}', {"threads": 2}),
    "allow_fallback": ("ON", True),
    "disable_plugins": ("a, b,a", ("a", "b")),
    "max_model_len": ("1024", 1024),
    "max_num_seqs": ("4", 4),
    "max_prefill_tokens": ("256", 256),
    "max_waiting": ("7", 7),
    "block_size": ("32", 32),
    "num_blocks": ("null", None),
    "kv_memory_bytes": ("1000000", 1_000_000),
    "prefix_cache": ("off", False),
    "cache_dir": ("/tmp/kept", "/tmp/kept"),
}


def test_every_field_has_a_variable_and_a_sample() -> None:
    assert set(SAMPLES) == set(FIELDS) == set(VARIABLES)


@pytest.mark.parametrize("field", FIELDS)
def test_each_variable_sets_its_field(field: str) -> None:
    text, value = SAMPLES[field]
    for variable in VARIABLES[field]:
        resolved = resolve(env={variable: text})
        found = getattr(resolved.config, field)
        assert (found, type(found)) == (value, type(value))
        assert resolved.config.model_fields_set == {field}
        assert (resolved.origins[field].kind, resolved.origins[field].where) == (
            "variable",
            variable,
        )


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_variable_is_unset(text: str) -> None:
    env = {names[0]: text for names in VARIABLES.values()}
    assert resolve(env=env).config.model_fields_set == set()


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("SAGELLM_MAX_TOKENS", "many", "digits"),
        ("SAGELLM_MAX_TOKENS", "1.5", "digits"),
        ("SAGELLM_MAX_TOKENS", "0", "at least 1"),
        ("SAGELLM_MAX_TOKENS", "9" * 5000, "digits"),
        ("SAGELLM_MAX_TOKENS", "٣", "digits"),
        ("SAGELLM_TEMPERATURE", "warm", "0.7"),
        ("SAGELLM_TEMPERATURE", "nan", "0.7"),
        ("SAGELLM_TEMPERATURE", "1e400", "finite"),
        ("SAGELLM_TOP_P", "2", "at most 1"),
        ("SAGELLM_LOAD_IN_8BIT", "maybe", "true"),
        ("SAGELLM_DEFAULT_OPTIONS", "{", "JSON"),
        ("SAGELLM_DEFAULT_OPTIONS", "[" * 100_000, "JSON"),
        ("SAGELLM_DEFAULT_OPTIONS", "[1]", "JSON object"),
        ("SAGELLM_DEFAULT_OPTIONS", '{"seed": 1, "seed": 2}', "JSON"),
        ("SAGELLM_DEFAULT_OPTIONS", '{"temprature": 1}', "temperature"),
        ("SAGELLM_PROVIDER_OPTIONS", '{"x": NaN}', "JSON"),
        ("SAGELLM_QUANTIZATION", "int3", "weights"),
        ("SAGELLM_MAX_NUM_SEQS", "0", "at once"),
        ("SAGELLM_TIMEOUT", "0", "above 0"),
        ("SAGELLM_DEVICE", "npu:x", "gpu:0"),
    ],
)
def test_a_wrong_value_names_variable_value_and_what_is_allowed(
    variable: str, text: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(env={variable: text})
    assert caught.value.message.startswith(f"{variable}={text[:20]!r}"[: len(variable) + 10])
    assert said in caught.value.hint
    assert len(str(caught.value)) < 600


def test_bytes_that_are_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"SAGELLM_ENGINE_ID", b"a\xff")
    with pytest.raises(ConfigurationError, match=r"SAGELLM_ENGINE_ID=.*not UTF-8"):
        resolve()


def test_two_variables_of_one_field_must_agree() -> None:
    assert (
        resolve(env={"SAGELLM_BACKEND": "cpu", "SAGELLM_BACKEND_TYPE": "cpu"}).config.backend_type
        == "cpu"
    )
    with pytest.raises(ConfigurationError, match="SAGELLM_BACKEND='cpu' and SAGELLM_BACKEND_TYPE"):
        resolve(env={"SAGELLM_BACKEND": "cpu", "SAGELLM_BACKEND_TYPE": "cuda"})


def test_the_environment_is_read_when_constructing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GeneratorConfig.from_arguments().max_tokens == 2048
    monkeypatch.setenv("SAGELLM_MAX_TOKENS", "5")
    assert GeneratorConfig.from_arguments().max_tokens == 5
    assert GeneratorConfig().max_tokens == 2048  # plain data, resolved by nobody


def test_unknown_variables_name_the_nearest() -> None:
    env = {
        "SAGELLM_TEMPRATURE": "1",
        "SAGELLM_ZZZ": "1",
        "SAGELLM_MY_NPU_QUEUE": "1",
        "SAGELLM_TOP_P": "1",
        "SAGELLM_PLUGINS": "mock",
        "SAGELLM_CACHE_DIR": "/x",
        "SAGELLM_BIN": "x",
        "HOME": "/",
    }
    assert unknown_variables(env, {"my-npu"}) == [
        ("SAGELLM_TEMPRATURE", "SAGELLM_TEMPERATURE"),
        ("SAGELLM_ZZZ", None),
    ]
    resolve(env=env)  # and are no error


@given(st.sampled_from(FIELDS), st.text(max_size=40))
@example("max_tokens", "1_000")
@example("top_k", "²")
@example("engine_id", "\ud800")
def test_any_text_is_a_value_or_a_typed_error(field: str, text: str) -> None:
    variable = VARIABLES[field][0]
    found: dict[str, Any] = {}
    refused: ConfigurationError | None = None
    try:
        found = read_environment({variable: text})
    except ConfigurationError as error:
        refused = error
    if refused is not None:
        assert refused.message.startswith(variable)
        assert refused.hint
        return
    assert (field in found) == bool(text.strip())
    if found:
        # What a variable says is what the constructor takes.
        GeneratorConfig.from_arguments((), {field: found[field][1]})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "max_tokens": st.integers(1, 10_000_000),
            "temperature": st.floats(0, 100),
            "top_k": st.integers(-1, 10**6),
            "allow_fallback": st.booleans(),
            "provider_options": st.dictionaries(
                st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=3
            ),
        },
    )
)
def test_a_value_written_as_text_comes_back(values: dict[str, Any]) -> None:
    def written(value: Any) -> str:
        return json.dumps(value) if isinstance(value, dict) else str(value)

    env = {VARIABLES[field][0]: written(value) for field, value in values.items()}
    config = resolve(env=env).config
    assert config == GeneratorConfig.from_arguments((), values)
    assert config.model_fields_set == set(values)
