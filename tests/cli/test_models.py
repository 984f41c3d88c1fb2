from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def model(tmp_path: Path) -> Path:
    place = tmp_path / "tiny"
    place.mkdir()
    header = b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    (place / "config.json").write_text('{"model_type": "llama"}')
    (place / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    return place


def test_add_list_path_rm(sagellm: Callable[..., Any], model: Path) -> None:
    assert sagellm("models", "list").stdout == ""
    added = sagellm("models", "add", "tiny", str(model), "--tag", "test")
    assert (added.returncode, added.stderr) == (0, "")
    assert sagellm("models", "path", "tiny").stdout == f"{model}\n"
    assert str(model) in sagellm("models", "list").stdout
    listed = json.loads(sagellm("models", "list", "--json").stdout)
    assert [(each["model_id"], each["tags"]) for each in listed] == [("tiny", ["test"])]
    assert json.loads(sagellm("models", "path", "tiny", "--json").stdout)["path"] == str(model)
    removed = sagellm("models", "rm", "tiny")
    assert removed.returncode == 0
    assert f"stay in {model}" in removed.stdout
    assert (model / "config.json").exists()
    assert sagellm("models", "path", "tiny").returncode == 1


def test_files_of_the_registry_are_deleted(
    sagellm: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    ours = model.rename(root / "tiny")
    env = {"SAGE_SAGELLM_MODEL_ROOT": str(root)}
    assert sagellm("models", "add", "tiny", str(ours), env=env).returncode == 0
    done = sagellm("models", "rm", "tiny", "--json", env=env)
    assert json.loads(done.stdout) == {"model_id": "tiny", "files_deleted": True}
    assert not ours.exists()


@pytest.mark.parametrize("command", ["path", "rm"])
def test_a_misspelt_name(sagellm: Callable[..., Any], model: Path, command: str) -> None:
    sagellm("models", "add", "tiny", str(model))
    done = sagellm("models", command, "tinny")
    assert done.returncode == 1
    assert "Did you mean 'tiny'?" in done.stderr


def test_a_name_that_is_taken(sagellm: Callable[..., Any], model: Path) -> None:
    assert sagellm("models", "add", "tiny", str(model)).returncode == 0
    assert sagellm("models", "add", "tiny", str(model)).returncode == 1
    assert sagellm("models", "add", "tiny", str(model), "--force").returncode == 0


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a b"])
def test_names_that_are_refused(sagellm: Callable[..., Any], model: Path, name: str) -> None:
    done = sagellm("models", "add", name, str(model))
    assert done.returncode == 1
    assert "hint: " in done.stderr


def test_a_model_that_is_gone(sagellm: Callable[..., Any], model: Path) -> None:
    sagellm("models", "add", "tiny", str(model))
    model.rename(model.parent / "elsewhere")
    assert "  missing  " in sagellm("models", "list").stdout
    done = sagellm("models", "path", "tiny")
    assert done.returncode == 1
    assert "gone" in done.stderr


def test_a_corrupt_registry_is_a_warning(sagellm: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text("{")
    done = sagellm("models", "list", env={"SAGE_SAGELLM_MODEL_ROOT": os.fspath(tmp_path)})
    assert done.returncode == 0
    assert done.stderr.startswith("warning: The model registry ")
    assert "metadata.json.corrupt-1" in done.stderr


def test_a_rebuilt_registry_says_what_it_found(
    sagellm: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    model.rename(root / "org__tiny")
    (root / "metadata.json").write_text("{")
    done = sagellm("models", "list", env={"SAGE_SAGELLM_MODEL_ROOT": str(root)})
    assert "1 models were found again" in done.stderr
    assert "org/tiny" in done.stdout


def test_download_show_and_rm(sagellm: Callable[..., Any], hub: Any, model: Path) -> None:
    pytest.importorskip("huggingface_hub")
    hub.repositories["org/tiny"] = {file.name: file.read_bytes() for file in model.iterdir()}
    env = {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"}
    done = sagellm("models", "download", "org/tiny", "--revision", "v1", "--tag", "a", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("org/tiny@v1 -> ")
    again = sagellm("models", "download", "org/tiny@v1", "--json", env={**env, "HF_ENDPOINT": "x"})
    assert json.loads(again.stdout)["revision"] == "v1"
    shown = sagellm("models", "show", "org/tiny@v1")
    assert "ready" in shown.stdout
    assert hub.commit in shown.stdout
    facts = json.loads(sagellm("models", "show", "org/tiny", "--json").stdout)
    assert (facts["state"], facts["format"], facts["tags"]) == ("ready", "safetensors", ["a"])
    assert sagellm("models", "rm", "org/tiny").returncode == 1  # which is another id
    assert sagellm("models", "rm", "org/tiny@v1").stdout == "Removed org/tiny@v1\n"
    assert sagellm("models", "show", "org/tiny").returncode == 1


def test_a_download_that_fails_is_an_error_and_can_be_seen(
    sagellm: Callable[..., Any], hub: Any, model: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    hub.repositories["org/tiny"] = {file.name: file.read_bytes() for file in model.iterdir()}
    hub.statuses["model.safetensors"] = [404]
    env = {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"}
    done = sagellm("models", "download", "org/tiny", env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert "hint: " in done.stderr
    assert "Unfinished: org/tiny" in sagellm("models", "list").stderr
    offline = sagellm("models", "download", "org/tiny", env={**env, "SAGELLM_OFFLINE": "1"})
    assert "SAGELLM_OFFLINE=1" in offline.stderr
    assert sagellm("models", "rm", "org/tiny").returncode == 0
    assert "Unfinished" not in sagellm("models", "list").stderr


def test_a_download_shows_a_bar_on_a_terminal(
    terminal: Callable[..., Any], hub: Any, model: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    hub.repositories["org/tiny"] = {file.name: file.read_bytes() for file in model.iterdir()}
    shown = terminal("models", "download", "org/tiny", HF_ENDPOINT=hub.url, NO_PROXY="127.0.0.1")
    code, text = shown.end()
    assert code == 0
    assert "downloading org/tiny [" in text


def test_import_adopts_what_sage_has(
    sagellm: Callable[..., Any], cli_env: dict[str, str], model: Path
) -> None:
    old = Path(cli_env["HOME"]) / ".sage/models/vllm"
    old.mkdir(parents=True)
    place = model.rename(old / "org__tiny")
    (old / "metadata.json").write_text(json.dumps({"org/tiny": {"path": str(place)}}))
    assert "vllm (SAGE)" in sagellm("models", "list").stdout
    assert sagellm("models", "path", "org/tiny").stdout == f"{place}\n"
    refused = sagellm("models", "rm", "org/tiny")
    assert (refused.returncode, "another program" in refused.stderr) == (1, True)
    assert "adopted" in sagellm("models", "import").stdout
    (found,) = json.loads(sagellm("models", "import", str(old), "--json").stdout)
    assert (found["model_id"], found["outcome"]) == ("org/tiny", "present")
    assert "vllm" not in sagellm("models", "list").stdout.replace(str(place), "")
    assert sagellm("models", "rm", "org/tiny").returncode == 0
    assert (place / "config.json").exists()


def test_an_incomplete_model_says_what_it_lacks(sagellm: Callable[..., Any], model: Path) -> None:
    sagellm("models", "add", "tiny", str(model))
    (model / "model.safetensors").write_bytes(b"")
    assert "incomplete" in sagellm("models", "list").stdout
    for command in ("path", "show"):
        done = sagellm("models", command, "tiny")
        assert "model.safetensors" in done.stdout + done.stderr


def test_a_path_that_is_not_utf8_can_be_shown(sagellm: Callable[..., Any], model: Path) -> None:
    place = model.with_name(os.fsdecode(b"caf\xe9"))
    try:
        model.rename(place)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert sagellm("models", "add", "mine", str(place)).returncode == 0
    assert r"caf\udce9" in sagellm("models", "list").stdout
    assert r"caf\udce9" in sagellm("models", "show", "mine").stdout
    for words in (("list",), ("show", "mine"), ("path", "mine")):
        found = json.loads(sagellm("models", *words, "--json").stdout)
        assert (found[0] if isinstance(found, list) else found)["path"] == str(place)


def test_ids_of_others_do_not_speak_to_the_terminal(
    sagellm: Callable[..., Any], tmp_path: Path
) -> None:
    odd = "\x1b[31mred\nblue"
    root = Path(sagellm.env["HOME"]) / ".sage/models/sagellm"  # type: ignore[attr-defined]
    root.mkdir(parents=True)
    (root / "metadata.json").write_text(json.dumps({odd: {"path": "/x"}}))
    listed = sagellm("models", "list").stdout
    assert len(listed.splitlines()) == 2
    assert r"\x1b[31mred\nblue" in listed
    assert r"\x1b[31mred\nblue" in sagellm("models", "show", odd).stdout
