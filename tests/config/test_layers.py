"""Arguments over variables over the file over defaults."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core import SageLLMGenerator
from sagellm_core.config import GeneratorConfig, Resolved, read_config_file, resolve
from sagellm_core.contract import ConfigurationError
from sagellm_core.options import call_options


def layered(
    path: Path, file: str = "", env: dict[str, str] | None = None, **arguments: Any
) -> Resolved:
    path.write_text(f"generator:\n  sagellm: {{{file}}}\n")
    return resolve((), arguments, section=read_config_file(path), env=env or {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_the_higher_layer_wins(path: Path) -> None:
    env = {"SAGELLM_TOP_K": "2", "SAGELLM_TOP_P": "0.2"}
    found = layered(path, "top_k: 1, top_p: 0.1, temperature: 0.1", env, top_k=3)
    assert (found.config.top_k, found.config.top_p, found.config.temperature) == (3, 0.2, 0.1)
    assert found.config.model_fields_set == {"top_k", "top_p", "temperature"}
    assert found.origins["top_k"].kind == "argument"
    assert found.origins["top_p"].where == "SAGELLM_TOP_P"
    assert found.origins["temperature"].where == f"{path}:2"
    assert found.origins["dtype"].kind == "default"
    assert set(found.origins) == set(GeneratorConfig.model_fields)


def test_only_what_somebody_set_counts_as_set(path: Path) -> None:
    assert layered(path).config.wanted_dtype == "auto"
    assert layered(path, "dtype: float16").config.wanted_dtype == "float16"
    assert layered(path, env={"SAGELLM_DTYPE": "float16"}).config.wanted_dtype == "float16"
    assert layered(path, env={"SAGELLM_DEVICE": "npu:3"}).config.device_index == 3
    assert "max_tokens" not in layered(path).config.call_options()
    assert layered(path, "max_tokens: 2048").config.call_options()["max_tokens"] == 2048


def limit(found: Resolved) -> int | None:
    return call_options(found.config.call_options()).sampling.max_tokens


def test_the_two_names_of_the_limit_are_one_wish(path: Path) -> None:
    assert limit(layered(path, "max_new_tokens: 5", {"SAGELLM_MAX_TOKENS": "100"})) == 100
    assert limit(layered(path, "max_tokens: 5", max_new_tokens=100)) == 100
    assert limit(layered(path, "max_tokens: 9, max_new_tokens: 5")) == 5


def test_the_names_of_quantization_are_one_wish(path: Path) -> None:
    found = layered(path, "quantization: int4", load_in_8bit=True).config
    assert found.wanted_quantization == "int8"
    found = layered(path, "load_in_4bit: true", {"SAGELLM_QUANTIZATION": "int8"}).config
    assert found.wanted_quantization == "int8"
    # Positional callers cannot leave the flags out; false asks for nothing.
    found = layered(path, "quantization: int4", load_in_8bit=False, load_in_4bit=False).config
    assert found.wanted_quantization == "int4"
    assert layered(path, "load_in_4bit: true", load_in_4bit=False).config.wanted_quantization is (
        None
    )


def test_default_options_of_a_lower_layer_do_not_win_over_a_field(path: Path) -> None:
    file = "default_options: {temperature: 0.1, seed: 3, max_tokens: 7}"
    options = layered(path, file, temperature=0.9, max_new_tokens=5).config.call_options()
    assert (options["temperature"], options["seed"], options["max_tokens"]) == (0.9, 3, 5)
    options = layered(path, file + ", temperature: 0.5").config.call_options()
    assert options["temperature"] == 0.1  # in one layer they come after the fields


def test_auto_means_what_the_variable_says(path: Path) -> None:
    env = {"SAGELLM_BACKEND": "mock"}
    assert layered(path, "backend_type: auto", env).config.backend_type == "mock"
    assert layered(path, "backend_type: cpu", env, backend_type="auto").config.backend_type == (
        "mock"
    )
    assert layered(path, "backend_type: cuda", env, backend_type="cpu").config.backend_type == "cpu"
    assert layered(path, "backend_type: cuda", backend_type="auto").config.backend_type == "auto"


def test_what_is_forbidden_somewhere_stays_forbidden(path: Path) -> None:
    env = {"SAGELLM_DISABLE_PLUGINS": "b"}
    found = layered(path, "disable_plugins: [a]", env, disable_plugins=("c", "a")).config
    assert found.disable_plugins == ("a", "b", "c")


def test_a_resolved_configuration_is_not_resolved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGELLM_TOP_K", "7")
    config = GeneratorConfig.from_arguments((), {"temperature": 0.5})
    monkeypatch.setenv("SAGELLM_TOP_K", "9")
    monkeypatch.setenv("SAGELLM_TOP_P", "0.1")
    assert SageLLMGenerator(config).config == config
    again = SageLLMGenerator(config, temperature=0.1).config
    assert (again.top_k, again.top_p, again.temperature) == (7, 0.95, 0.1)


def test_a_pickled_generator_keeps_what_it_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGELLM_BACKEND", "mock")
    monkeypatch.setenv("SAGELLM_MODEL", "any")
    monkeypatch.setenv("SAGELLM_MAX_TOKENS", "3")
    data = pickle.dumps(SageLLMGenerator())
    script = (
        "import pickle, sys\n"
        "gen = pickle.load(sys.stdin.buffer)\n"
        "result = gen.execute('Hello')\n"
        "print(result['provider']['name'], result['usage']['completion_tokens'])\n"
    )
    env = {
        "SAGELLM_BACKEND": "nobody",
        "SAGELLM_MAX_TOKENS": "9",
        "PATH": "/usr/bin:/bin",
        "HOME": str(Path.home()),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], input=data, env=env, capture_output=True, check=True
    )
    assert done.stdout.decode().split() == ["mock", "3"]


def test_a_pickled_auto_stays_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    gen = pickle.loads(pickle.dumps(SageLLMGenerator(model_path="/nowhere/at/all")))
    monkeypatch.setenv("SAGELLM_BACKEND", "mock")  # takes any model; auto does not
    with pytest.raises(Exception, match="nowhere"):
        gen.load()


def test_from_config(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(
        "generator:\n  sagellm: {backend_type: mock, model_path: any}\nother: {backend_type: cpu}\n"
    )
    with SageLLMGenerator.from_config(path, max_tokens=3) as gen:
        assert gen.execute("Hi")["usage"]["completion_tokens"] == 3
    assert SageLLMGenerator.from_config(str(path), section="other").backend_type == "cpu"
    monkeypatch.setenv("SAGELLM_MODEL", "another")
    assert SageLLMGenerator.from_config().model_path == "another"  # ./config.yaml
    with pytest.raises(ConfigurationError, match="Unknown configuration key 'temprature'"):
        SageLLMGenerator.from_config(path, temprature=1)


def test_where_a_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(place: Path, model: str) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"generator: {{sagellm: {{model_path: {model}}}}}")

    with pytest.raises(ConfigurationError, match="No configuration file was found") as caught:
        SageLLMGenerator.from_config()
    assert "config auto" in caught.value.hint
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    write(tmp_path / "home" / ".config" / "sage" / "config.yaml", "home")
    write(tmp_path / "xdg" / "sage" / "config.yaml", "xdg")
    assert SageLLMGenerator.from_config().model_path == "xdg"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert SageLLMGenerator.from_config().model_path == "home"
    write(tmp_path / "config" / "config.yaml", "project")
    assert SageLLMGenerator.from_config().model_path == "project"
    write(tmp_path / "config.yaml", "here")
    assert SageLLMGenerator.from_config().model_path == "here"
    write(tmp_path / "named.yaml", "named")
    monkeypatch.setenv("SAGELLM_CONFIG", "named.yaml")
    assert SageLLMGenerator.from_config().model_path == "named"
    monkeypatch.setenv("SAGELLM_CONFIG", "gone.yaml")
    with pytest.raises(ConfigurationError, match=r"SAGELLM_CONFIG='gone\.yaml' names no file"):
        SageLLMGenerator.from_config()


def test_the_constructor_reads_no_file(path: Path) -> None:
    path.write_text("generator: {sagellm: {model_path: here}}")
    assert SageLLMGenerator().model_path == ""


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 100),
        "max_new_tokens": st.integers(1, 100),
        "top_k": st.integers(0, 9),
        "quantization": st.sampled_from(["int4", "int8"]),
        "load_in_8bit": st.just(True),
        "num_blocks": st.integers(1, 9),
        "default_options": st.just({"top_k": 4, "max_tokens": 2}),
    },
).filter(lambda values: not (values.get("load_in_8bit") and values.get("quantization") == "int4"))


@given(VALUES, VALUES)
def test_layers_that_are_sound_alone_are_sound_together(
    low: dict[str, Any], high: dict[str, Any]
) -> None:
    config = resolve((GeneratorConfig.model_validate(low),), high, env={}).config
    assert GeneratorConfig.from_arguments((), config.model_dump(exclude_unset=True)) == config
    for key, value in high.items():
        assert getattr(config, key) == value
    alone = GeneratorConfig.from_arguments((), high)
    if {"max_tokens", "max_new_tokens", "default_options"} & set(high):
        sampling = [call_options(each.call_options()).sampling for each in (config, alone)]
        assert sampling[0].max_tokens == sampling[1].max_tokens
