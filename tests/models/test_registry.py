from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ModelNotFoundError
from sagellm_core.models import (
    ModelRegistryError,
    add_model,
    delete_model,
    get_model_path,
    list_models,
    model_root,
    touch_model,
)
from sagellm_core.models.deletion import delete_aside
from sagellm_core.models.registry_file import RegistryFile
from sagellm_core.models.registry_root import RegistryRoot


@pytest.fixture
def root() -> Path:
    return model_root()


def test_the_root_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAGE_SAGELLM_MODEL_ROOT", str(tmp_path / "a"))
    assert model_root() == tmp_path / "a"
    monkeypatch.delenv("SAGE_SAGELLM_MODEL_ROOT")
    assert model_root() == Path(os.environ["HOME"]) / ".sage/models/sagellm"


def test_nothing_registered_leaves_nothing_behind(root: Path) -> None:
    assert list_models() == []
    assert get_model_path("x") is None
    assert not root.exists()


def test_a_model_is_registered_in_place(hf_dir: Path, root: Path) -> None:
    before = sorted(hf_dir.iterdir())
    info = add_model("org/name@v1", hf_dir, revision="v1", tags=["small"])
    assert sorted(hf_dir.iterdir()) == before
    assert get_model_path("org/name@v1") == hf_dir
    assert list_models() == [info]
    assert info.size_bytes == sum(file.stat().st_size for file in before)
    assert info.size_mb == info.size_bytes / 2**20
    written = json.loads((root / "metadata.json").read_text())
    assert set(written["org/name@v1"]) == {"path", "revision", "size_bytes", "last_used", "tags"}


def test_the_newest_comes_first(hf_dir: Path, gguf_file: Path) -> None:
    add_model("first", hf_dir)
    time.sleep(0.01)
    add_model("second", gguf_file)
    assert [model.model_id for model in list_models()] == ["second", "first"]
    time.sleep(0.01)
    assert touch_model("first")
    assert [model.model_id for model in list_models()] == ["first", "second"]
    assert not touch_model("third")


def test_a_name_is_not_taken_twice_unasked(hf_dir: Path, gguf_file: Path) -> None:
    add_model("x", hf_dir)
    with pytest.raises(ModelRegistryError, match="registered already") as caught:
        add_model("x", gguf_file)
    assert "models rm x" in caught.value.hint
    add_model("x", gguf_file, replace=True)
    assert get_model_path("x") == gguf_file


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/../b", "/abs", "a//b", "a/", ".hidden", "a b", "a\\b", "x" * 300, "a\n"],
)
def test_names_that_could_be_mistaken_are_refused(hf_dir: Path, name: str) -> None:
    with pytest.raises(ModelRegistryError):
        add_model(name, hf_dir)


def test_what_is_no_model_is_not_registered(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        add_model("x", tmp_path / "missing")
    assert list_models() == []


def test_a_path_that_is_gone_or_empty_is_no_path(hf_dir: Path) -> None:
    add_model("x", hf_dir)
    for file in hf_dir.iterdir():
        file.unlink()
    assert get_model_path("x") is None
    hf_dir.rmdir()
    assert get_model_path("x") is None


def test_forgetting_a_model_elsewhere_leaves_its_files(hf_dir: Path) -> None:
    add_model("x", hf_dir)
    assert delete_model("x")
    assert not delete_model("x")
    assert (hf_dir / "config.json").exists()
    assert list_models() == []


def test_files_under_the_root_are_deleted(hf_dir: Path, root: Path) -> None:
    place = root / "org__name"
    root.mkdir(parents=True)
    hf_dir.rename(place)
    add_model("org/name", place)
    assert delete_model("org/name")
    assert not place.exists()


def test_files_that_another_name_uses_stay(hf_dir: Path, root: Path) -> None:
    root.mkdir(parents=True)
    place = hf_dir.rename(root / "org__name")
    add_model("one", place)
    add_model("two", place)
    assert delete_model("one")
    assert get_model_path("two") == place


def _write_registry(root: Path, entries: object) -> None:
    root.mkdir(parents=True, exist_ok=True)
    text = entries if isinstance(entries, str) else json.dumps(entries)
    (root / "metadata.json").write_text(text)


@pytest.mark.parametrize("path", [".", "", "..", "../..", "metadata.json", "a/../.."])
def test_an_entry_cannot_make_rm_delete_the_root_or_more(
    root: Path, path: str, hf_dir: Path
) -> None:
    _write_registry(root, {"evil": {"path": path}, "good": {"path": str(hf_dir)}})
    assert delete_model("evil")
    assert get_model_path("good") == hf_dir


def test_a_link_under_the_root_is_deleted_and_not_what_it_points_to(
    hf_dir: Path, root: Path
) -> None:
    root.mkdir(parents=True)
    (root / "link").symlink_to(hf_dir)
    _write_registry(root, {"x": {"path": "link"}})
    assert delete_model("x")
    assert not (root / "link").is_symlink()
    assert (hf_dir / "config.json").exists()


def test_entries_that_others_wrote_are_kept_and_tolerated(hf_dir: Path, root: Path) -> None:
    theirs = {"odd": 5, "older": {"path": str(hf_dir), "last_used": "x", "size_bytes": -1, "k": 1}}
    _write_registry(root, theirs)
    assert [model.model_id for model in list_models()] == ["older"]
    add_model("mine", hf_dir)
    written = json.loads((root / "metadata.json").read_text())
    assert {key: written[key] for key in theirs} == theirs


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "/x", "tags": ["\udcff"]},
        {"path": "/x\udcff"},
        {"path": "/x", "size_bytes": 10**400},
        {"path": "/" + "x" * 5000},
    ],
)
def test_odd_values_of_others_stop_nothing(hf_dir: Path, root: Path, entry: dict[str, Any]) -> None:
    _write_registry(root, {"odd": entry})
    add_model("mine", hf_dir)
    assert json.loads((root / "metadata.json").read_text())["odd"] == entry
    (odd,) = (model for model in list_models() if model.model_id == "odd")
    assert (odd.state, odd.size_mb) == ("missing", 0.0)


def test_a_model_whose_path_is_not_utf8(hf_dir: Path, root: Path) -> None:
    place = hf_dir.with_name(os.fsdecode(b"caf\xe9"))
    try:
        hf_dir.rename(place)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    add_model("mine", place, tags=["\udcff"])
    assert get_model_path("mine") == place


def test_a_pipe_is_no_registry_and_is_not_waited_for(root: Path, hf_dir: Path) -> None:
    root.mkdir(parents=True)
    os.mkfifo(root / "metadata.json")
    with pytest.raises(ModelRegistryError, match="no regular file"):
        list_models()
    with pytest.raises(ModelRegistryError, match="no regular file"):
        add_model("mine", hf_dir)


@pytest.mark.parametrize(
    "wrong", [{"revision": 5}, {"tags": 5}, {"tags": [1]}, {"root": "/x\ud800"}]
)
def test_arguments_of_the_wrong_type_are_refused(hf_dir: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelRegistryError):
        add_model("mine", hf_dir, **wrong)
    assert list_models() == []


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "", "[" * 100_000])
def test_a_corrupt_registry_is_set_aside_with_a_warning(
    hf_dir: Path, root: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    _write_registry(root, text)
    with caplog.at_level(logging.WARNING):
        assert list_models() == []
    assert "metadata.json.corrupt-1" in caplog.text
    assert (root / "metadata.json.corrupt-1").read_text() == text
    _write_registry(root, text)
    add_model("x", hf_dir)
    assert (root / "metadata.json.corrupt-2").exists()
    assert get_model_path("x") == hf_dir


def test_a_root_that_cannot_be_made(
    hf_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAGE_SAGELLM_MODEL_ROOT", str(tmp_path / "file" / "root"))
    with pytest.raises(ModelRegistryError, match="cannot be written") as caught:
        add_model("x", hf_dir)
    assert "SAGE_SAGELLM_MODEL_ROOT" in caught.value.hint
    assert list_models() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_is_read_only(hf_dir: Path, root: Path) -> None:
    root.mkdir(parents=True)
    root.chmod(0o500)
    try:
        with pytest.raises(ModelRegistryError, match="cannot be written"):
            add_model("x", hf_dir)
    finally:
        root.chmod(0o700)


def test_a_lock_that_is_held_is_not_waited_for_for_ever(root: Path) -> None:
    root.mkdir(parents=True)
    place = RegistryRoot(root)
    file = RegistryFile(place, lock_seconds=0.1)
    with (
        RegistryFile(place).change(),
        pytest.raises(ModelRegistryError, match=r"locked by another process for 0\.1 s"),
        file.change(),
    ):
        pass
    with file.change():  # and it was given back
        pass


def test_processes_that_register_at_once_lose_nothing(gguf_file: Path) -> None:
    script = (
        "import sys; from sagellm_core.models import add_model\n"
        "for n in range(5): add_model(f'm{sys.argv[1]}-{n}', sys.argv[2])"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(number), str(gguf_file)])
        for number in range(4)
    ]
    assert [process.wait(timeout=60) for process in running] == [0] * 4
    assert len(list_models()) == 20


def test_describing_registers_nothing(gguf_file: Path, make_gguf: Callable[..., bytes]) -> None:
    from sagellm_core.models import describe

    describe(gguf_file)
    assert not model_root().exists()


def test_only_what_was_left_long_ago_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = tmp_path / ".trash-mine", tmp_path / ".trash-theirs"
    for place in (mine, theirs):
        place.mkdir()
        (place / "model.gguf").write_bytes(b"GGUF")
    delete_aside(mine)
    assert not mine.exists()
    assert (theirs / "model.gguf").exists(), "another process may have to put it back"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    delete_aside(mine)
    assert not theirs.exists()
