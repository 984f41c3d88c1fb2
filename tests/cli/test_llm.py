from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Sagellm = Callable[..., Any]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    place = tmp_path / "tiny"
    place.mkdir()
    header = b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    (place / "config.json").write_text('{"model_type": "llama"}')
    (place / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    return place


def test_run_is_sagellm_run(sagellm: Sagellm, mock: tuple[str, ...]) -> None:
    words = ("run", *mock, "-p", "Hello", "--seed", "3", "--max-tokens", "6")
    under_llm, plain = sagellm("llm", *words), sagellm(*words)
    assert (under_llm.returncode, under_llm.stdout) == (0, plain.stdout)


def test_models_are_listed_shown_and_deleted(sagellm: Sagellm, model: Path) -> None:
    sagellm("models", "add", "tiny", str(model))
    assert "tiny" in sagellm("llm", "model", "list").stdout
    assert str(model) in sagellm("llm", "model", "show", "tiny").stdout
    assert sagellm("llm", "model", "delete", "tiny").returncode == 0
    assert sagellm("llm", "model", "show", "tiny").returncode == 1


def test_the_old_words_of_the_model_commands_still_do(sagellm: Sagellm, model: Path) -> None:
    sagellm("models", "add", "tiny", str(model))
    [listed] = json.loads(sagellm("llm", "model", "show", "--json").stdout)
    assert listed["model_id"] == "tiny"
    assert sagellm("llm", "model", "list", "--engine", "sagellm").returncode == 0
    assert str(model) in sagellm("llm", "model", "show", "--model=tiny").stdout
    assert sagellm("llm", "model", "delete", "--model", "tiny", "-y").returncode == 0
    offline = {"HF_HUB_OFFLINE": "1"}
    refused = sagellm("llm", "model", "download", "-m", "org/x", "--no-progress", env=offline)
    assert refused.returncode == 1
    assert "HF_HUB_OFFLINE" in refused.stderr


def test_a_model_option_without_a_model(sagellm: Sagellm) -> None:
    done = sagellm("llm", "model", "delete", "--model")
    assert done.returncode == 2
    assert "--model needs the name of a model" in done.stderr


def test_show_without_a_model_offers_its_help(sagellm: Sagellm) -> None:
    assert "llm model show" in sagellm("llm", "model", "show", "--help").stdout


@pytest.mark.parametrize(
    ("words", "type_instead"),
    [
        (("llm", "serve", "--model", "x", "--port", "8000"), "sagellm llm run -m MODEL -p TEXT"),
        (("llm", "start"), "sagellm llm run -m MODEL -p TEXT"),
        (("llm", "stop"), "sagellm llm status"),
        (("llm", "list-models"), "sagellm llm model list"),
        (("llm", "info", "--help"), "sagellm llm status"),
        (("llm", "fine-tune"), "trains none"),
        (("llm", "model", "list", "--vllm"), "sagellm llm model list"),
        (("llm", "model", "show", "--engine", "vllm"), "sagellm llm model show"),
        (("llm", "model", "list", "--engine=VLLM"), "sagellm llm model list"),
    ],
)
def test_what_was_removed_says_what_to_type(
    sagellm: Sagellm, words: tuple[str, ...], type_instead: str
) -> None:
    done = sagellm(*words)
    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert error.endswith("was removed, with vLLM.")
    assert hint.startswith("hint: ")
    assert type_instead in hint


def test_an_engine_that_never_was(sagellm: Sagellm) -> None:
    done = sagellm("llm", "model", "list", "--engine", "ollama")
    assert done.returncode == 2
    assert "there is sagellm" in done.stderr


def test_an_unknown_command_names_the_nearest(sagellm: Sagellm) -> None:
    done = sagellm("llm", "stats")
    assert done.returncode == 2
    assert "Did you mean 'status'?" in done.stderr


def test_status_says_what_is_there(sagellm: Sagellm, plugin_site: Any, tmp_path: Path) -> None:
    plugin_site.add("gizmo")
    config = tmp_path / "config.yaml"
    config.write_text("generator:\n  sagellm:\n    backend_type: gizmo\n    model_path: any\n")
    env = {"SAGELLM_CONFIG": str(config), "SAGELLM_PLUGINS": "gizmo"}
    done = sagellm("llm", "status", "--json", env=env, path=plugin_site.path)
    said = json.loads(done.stdout)
    assert (done.returncode, said["ok"]) == (0, True)
    assert "gizmo" in [each["name"] for each in said["plugins"]["installed"]]
    assert said["choice"]["backend"] == "gizmo"
    assert said["choice"]["why"]
    assert said["models"]["count"] == 0
    assert said["config"]["file"] == str(config)
    assert said["conflicts"]["found"] == []
    lines = sagellm("llm", "status", env=env, path=plugin_site.path).stdout.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["ok"] * 5


def test_status_fails_where_nothing_can_run(sagellm: Sagellm) -> None:
    done = sagellm("llm", "status", env={"SAGELLM_PLUGINS": "mock"})
    assert done.returncode == 1
    assert "computes nothing real" in done.stdout


def test_status_fails_on_a_bad_configuration(sagellm: Sagellm, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("generator:\n  sagellm:\n    backend_typ: cpu\n    max_tokens: many\n")
    done = sagellm("llm", "status", "--json", env={"SAGELLM_CONFIG": str(config)})
    said = json.loads(done.stdout)
    assert done.returncode == 1
    assert said["config"]["severity"] == "error"
    assert "config.yaml:3" in said["config"]["message"]
    assert "and 1 more" in said["config"]["message"]
    missing = sagellm("llm", "status", "--json", env={"SAGELLM_CONFIG": "nowhere.yaml"})
    assert "nowhere.yaml" in json.loads(missing.stdout)["config"]["message"]


def test_status_names_what_owns_the_same_names(sagellm: Sagellm, plugin_site: Any) -> None:
    plugin_site.dist("isagellm-core", "0.5.0")
    done = sagellm("llm", "status", "--json", path=plugin_site.path)
    said = json.loads(done.stdout)
    assert done.returncode == 1
    assert said["conflicts"]["found"] == ["isagellm-core"]
    assert "pip uninstall -y isagellm-core" in said["conflicts"]["hint"]
