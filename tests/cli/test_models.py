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
