"""``sagellm config`` and ``--config`` as their users type them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("generator:\n  sagellm: {backend_type: mock, model_path: any}\n")
    return path


# --- run --config -----------------------------------------------------------------------------


def tokens(done: Any) -> int:
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout)["usage"]["completion_tokens"])


def test_run_takes_what_a_file_says(
    sagellm: Callable[..., Any], config: Path, tmp_path: Path
) -> None:
    run = ("run", "-p", "Hi", "--json")
    assert tokens(sagellm(*run, "--config", str(config))) > 9
    config.write_text("generator: {sagellm: {backend_type: mock, max_tokens: 9}}")
    named = {"SAGELLM_CONFIG": str(config)}
    assert tokens(sagellm(*run, "--config", str(config))) == 9
    assert tokens(sagellm(*run, env=named)) == 9
    assert tokens(sagellm(*run, env={**named, "SAGELLM_MAX_TOKENS": "5"})) == 5
    assert tokens(sagellm(*run, "--max-tokens", "3", env={**named, "SAGELLM_MAX_TOKENS": "5"})) == 3
    gone = sagellm(*run, env={"SAGELLM_CONFIG": str(tmp_path / "gone.yaml")})
    assert gone.returncode == 1
    assert "SAGELLM_CONFIG=" in gone.stderr


def test_a_variable_wins_over_a_default_of_the_command_and_not_over_a_flag(
    sagellm: Callable[..., Any], mock: tuple[str, ...]
) -> None:
    def answer(*flags: str, **env: str) -> str:
        done = sagellm("run", *mock, "-p", "Hi", "--seed", "1", *flags, env=env)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    greedy = answer("-t", "0")
    assert answer() != greedy
    assert answer(SAGELLM_TEMPERATURE="0") == greedy
    assert answer(SAGELLM_DEFAULT_OPTIONS='{"temperature": 0}') == greedy
    assert answer("-t", "0.7", SAGELLM_TEMPERATURE="0") == answer()
    assert answer("--max-tokens", "4", SAGELLM_MAX_TOKENS="9").split() == answer().split()[:4]


def test_a_file_that_lies_around_is_not_read_by_run(
    sagellm: Callable[..., Any], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    done = sagellm("run", "-p", "Hi")
    assert done.returncode == 2
    assert "No model was named" in done.stderr


def test_a_wrong_file_or_variable_ends_the_run(
    sagellm: Callable[..., Any], config: Path, mock: tuple[str, ...]
) -> None:
    config.write_text("generator:\n  sagellm:\n    temprature: 1\n")
    done = sagellm("run", "--config", str(config), "-p", "Hi")
    assert done.returncode == 1
    assert f"{config}:3:5: " in done.stderr
    assert "temperature" in done.stderr
    done = sagellm("run", *mock, "-p", "Hi", env={"SAGELLM_TOP_P": "2"})
    assert done.returncode == 1
    assert "SAGELLM_TOP_P='2'" in done.stderr


# --- show, validate, schema -------------------------------------------------------------------


def test_show_says_where_each_value_comes_from(sagellm: Callable[..., Any], config: Path) -> None:
    env = {"SAGELLM_TOP_K": "7", "SAGELLM_PLUGINS": "mock", "SAGELLM_TEMPRATURE": "1"}
    done = sagellm("-p", "no:cpu", "config", "show", "-c", str(config), "--json", env=env)
    shown = json.loads(done.stdout)
    values = shown["values"]
    assert values["backend_type"] == {"value": "mock", "from": "file", "where": f"{config}:2"}
    assert values["top_k"] == {"value": 7, "from": "variable", "where": "SAGELLM_TOP_K"}
    assert values["disable_plugins"] == {"value": ["cpu"], "from": "argument", "where": ""}
    assert values["top_p"] == {"value": 0.95, "from": "default", "where": ""}
    assert shown["controls"] == {"SAGELLM_PLUGINS": "mock"}
    assert shown["unknown_variables"] == [
        {"name": "SAGELLM_TEMPRATURE", "nearest": "SAGELLM_TEMPERATURE"}
    ]
    done = sagellm("config", "show", "-c", str(config), env=env)
    assert "SAGELLM_TOP_K" in done.stdout
    assert "Did you mean SAGELLM_TEMPERATURE?" in done.stderr


def test_show_prints_whatever_yaml_can_hold(sagellm: Callable[..., Any], config: Path) -> None:
    config.write_text(
        "generator:\n  sagellm:\n    provider_options:\n      a: 2026-01-01\n"
        "      b: !!binary /w==\n      c: !!set {x}\n      d: {1: {2026-01-01: .inf}}\n"
    )
    for flags in ((), ("--json",)):
        done = sagellm("config", "show", "-c", str(config), *flags)
        assert done.returncode == 0, done.stderr
        assert "2026-01-01" in done.stdout


def test_show_tells_of_a_file_that_it_did_not_read(
    sagellm: Callable[..., Any], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    done = sagellm("config", "show")
    assert "mock" not in done.stdout
    assert "config.yaml is here and was not read" in done.stderr


def test_validate(sagellm: Callable[..., Any], config: Path, tmp_path: Path) -> None:
    good = sagellm("config", "validate", str(config))
    assert (good.returncode, good.stderr) == (0, "")
    bad = tmp_path / "bad.yaml"
    bad.write_text("generator:\n  sagellm:\n    temprature: 1\n    top_p: 7\n")
    done = sagellm("config", "validate", str(config), str(bad))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"{bad}:3:5: error: ") for line in lines)
    assert any(line.startswith(f"{bad}:4:12: error: ") for line in lines)
    assert any("Did you mean 'temperature'?" in line for line in lines)
    found = json.loads(sagellm("config", "validate", "--json", str(bad)).stdout)
    assert [(each["line"], each["column"]) for each in found["problems"]] == [(3, 5), (4, 12)]
    assert sagellm("config", "validate", "-s", "llm", str(config)).returncode == 1
    assert sagellm("config", "validate").returncode == 2


def test_schema_is_json(sagellm: Callable[..., Any]) -> None:
    schema = json.loads(sagellm("config", "schema").stdout)
    assert "sagellm" in schema["properties"]["generator"]["properties"]
    assert "llm" in json.loads(sagellm("config", "schema", "-s", "llm").stdout)["properties"]


# --- auto -------------------------------------------------------------------------------------


@pytest.fixture
def auto(
    sagellm: Any, tmp_path: Path, plugin_site: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """``sagellm config auto`` beside one NPU that takes any model, in a directory of its own."""
    plugin_site.add("npu", capabilities="frozenset({'any_model'})")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*arguments: str, **env: str) -> Any:
        env = {"SAGELLM_PLUGINS": "npu", **env}
        return sagellm("config", "auto", *arguments, path=plugin_site.path, env=env)

    return run


@pytest.fixture
def registered(cli_env: dict[str, str], tmp_path: Path) -> None:
    """A whole model directory in the registry, under the name small."""
    model = tmp_path / "small"
    model.mkdir()
    (model / "config.json").write_text(
        json.dumps({"model_type": "llama", "max_position_embeddings": 512, "vocab_size": 8})
    )
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (model / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    root = Path(cli_env["HOME"]) / ".sage" / "models" / "sagellm"
    root.mkdir(parents=True)
    entry = {"path": str(model), "revision": "", "size_bytes": 1, "last_used": 5, "tags": []}
    gone = {**entry, "path": "/nowhere/at/all", "last_used": 9}
    (root / "metadata.json").write_text(json.dumps({"small": entry, "gone": gone}))


@pytest.mark.usefixtures("registered")
def test_auto_writes_what_is_here(auto: Callable[..., Any]) -> None:
    done = auto("--yes")
    assert done.returncode == 0, done.stderr
    written = Path("config.yaml")
    assert yaml.safe_load(written.read_text()) == {
        "generator": {"sagellm": {"backend_type": "npu", "model_path": "small", "max_tokens": 512}}
    }
    assert "gone was passed over" in done.stderr
    assert "+    model_path: small" in done.stdout
    before = written.read_bytes()
    again = auto()
    assert (again.returncode, written.read_bytes()) == (0, before)
    assert "nothing to change" in again.stdout
    assert files() == ["config.yaml"]


@pytest.mark.usefixtures("registered")
def test_auto_keeps_everything_else(auto: Callable[..., Any]) -> None:
    path = Path("my.yaml")
    old = (
        "# top\r\ngenerator:\r\n    sagellm:   # mine\r\n        max_tokens: 77 # not many\r\n"
        "        top_k: 3\r\n# end\r\n"
    )
    path.write_bytes(old.encode())
    path.chmod(0o640)
    link = Path("link.yaml")
    link.symlink_to(path)
    assert auto("-c", "link.yaml", "-y").returncode == 0
    lines = path.read_bytes().decode().split("\r\n")
    assert lines[4:7] == [
        "        top_k: 3",
        "        backend_type: npu",
        "        model_path: small",
    ]
    assert [line for line in lines if line not in lines[5:7]] == old.split("\r\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert link.is_symlink()
    (backup,) = Path().glob("*.bak-*")
    assert backup.read_bytes() == old.encode()
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640


def test_auto_without_a_backup_and_with_a_model(auto: Callable[..., Any]) -> None:
    Path("config.yaml").write_text("generator: {sagellm: {model_path: x}}\n")
    done = auto("-m", "some/model", "--no-backup", "-y")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(Path("config.yaml").read_text())["generator"]["sagellm"] == {
        "model_path": "some/model",
        "backend_type": "npu",
        "max_tokens": 2048,
    }
    assert files() == ["config.yaml"]


def test_auto_with_a_model_that_is_yet_to_come(auto: Callable[..., Any], plugin_site: Any) -> None:
    plugin_site.add("tpu")
    done = auto("-m", "some/model", "-y", SAGELLM_PLUGINS="tpu")
    assert done.returncode == 0, done.stderr
    assert "sagellm models download some/model" in done.stderr


def test_auto_warns_of_what_was_wrong_before(auto: Callable[..., Any]) -> None:
    Path("config.yaml").write_text("generator:\n  sagellm:\n    method: openai\n")
    done = auto("-m", "some/model", "-y")
    assert done.returncode == 0
    assert "config.yaml:3:5: generator.sagellm: Unknown configuration key 'method'" in done.stderr


def test_auto_without_models_or_providers(auto: Callable[..., Any]) -> None:
    none = auto("-y")
    assert none.returncode == 1
    assert "No model is registered" in none.stderr
    assert "sagellm models add" in none.stderr
    assert auto("-y", "-m", "x", SAGELLM_PLUGINS="mock").returncode == 1
    assert files() == []


@pytest.mark.parametrize(
    "content", [b"a: [\n", b"a: 1\na: 2\n", b"\xff\xfa\xe9", b"- 1\n", b"a: 1\n---\n"]
)
def test_auto_leaves_what_is_no_configuration(auto: Callable[..., Any], content: bytes) -> None:
    Path("config.yaml").write_bytes(content)
    done = auto("-m", "some/model", "-y")
    assert done.returncode == 1
    assert "config.yaml" in done.stderr
    assert Path("config.yaml").read_bytes() == content
    assert files() == ["config.yaml"]


def test_auto_without_a_terminal_or_a_yes_writes_nothing(auto: Callable[..., Any]) -> None:
    done = auto("-m", "some/model")
    assert done.returncode == 2
    assert "+    model_path: some/model" in done.stdout
    assert "Type: sagellm config auto --yes" in done.stderr
    assert files() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--prefer", "vllm"), "Type: sagellm config auto --prefer sagellm"),
        (("--prefer", "ollama"), "OpenAIGenerator"),
        (("--prefer", "x"), "Type: --prefer sagellm"),
        (("-t", "secret-token"), "no token"),
        (("-s", "vllm"), "generator.sagellm"),
    ],
)
def test_options_of_the_past_say_what_to_type(
    auto: Callable[..., Any], arguments: tuple[str, ...], said: str
) -> None:
    done = auto(*arguments)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "secret-token" not in done.stderr


def test_auto_takes_a_section_of_sage_by_its_bare_name(auto: Callable[..., Any]) -> None:
    assert auto("--prefer", "sagellm", "-s", "local", "-m", "x", "-y").returncode == 0
    assert (
        yaml.safe_load(Path("config.yaml").read_text())["generator"]["local"]["model_path"] == "x"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_auto_where_nothing_can_be_written(auto: Callable[..., Any]) -> None:
    Path.cwd().chmod(0o500)
    done = auto("-m", "x", "-y")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_auto_asks(
    auto: Callable[..., Any], terminal: Callable[..., Any], plugin_site: Any
) -> None:
    env = {"SAGELLM_PLUGINS": "npu", "PYTHONPATH": str(plugin_site.path)}
    for answer, there in (("n", []), ("y", ["config.yaml"])):
        shown = terminal("config", "auto", "-m", "x", **env)
        shown.wait_for("Write this to config.yaml")
        shown.type(answer + "\n")
        assert shown.end()[0] == 0
        assert files() == there


def test_auto_says_the_name_it_was_called_by() -> None:
    from sagellm_core.cli.config_auto import command
    from sagellm_core.cli.removed import RemovedError

    with pytest.raises(RemovedError) as caught:
        command.main(["--prefer", "vllm"], prog_name="sage llm config auto", standalone_mode=False)
    assert caught.value.hint == "Type: sage llm config auto --prefer sagellm"
