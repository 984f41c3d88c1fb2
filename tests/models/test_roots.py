"""The three registries that are read, the one that is written, and adopting from the others."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.models import (
    ModelRegistryError,
    add_model,
    delete_model,
    ensure_model_available,
    get_model_path,
    import_models,
    list_models,
    model_root,
    resolve,
    touch_model,
)

Write = Callable[..., Path]


@pytest.fixture
def vllm_root() -> Path:
    return Path(os.environ["HOME"]) / ".sage/models/vllm"


@pytest.fixture
def isage_root() -> Path:
    return Path(os.environ["HOME"]) / ".local/share/sage/models/sagellm"


@pytest.fixture
def put(hf_dir: Path) -> Write:
    """Writes a model and its entry, as SAGE's own registry does."""

    def write(root: Path, model_id: str, **entry: Any) -> Path:
        place = root / model_id.replace("/", "__")
        shutil.copytree(hf_dir, place)
        file = root / "metadata.json"
        entries = json.loads(file.read_text()) if file.exists() else {}
        size = sum(each.stat().st_size for each in place.iterdir())
        written = {"path": str(place), "revision": None, "size_bytes": size}
        entries[model_id] = {**written, "last_used": time.time(), "tags": [], **entry}
        file.write_text(json.dumps(entries))
        return place

    return write


def _snapshot(root: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def test_models_of_all_three_are_found(
    put: Write, vllm_root: Path, isage_root: Path, hf_dir: Path
) -> None:
    old = put(vllm_root, "org/old", last_used=5)
    new = put(isage_root, "org/new", last_used=7)
    add_model("mine", hf_dir)
    assert [(model.model_id, model.origin) for model in list_models()] == [
        ("mine", "sagellm"),
        ("org/new", "isage"),
        ("org/old", "vllm"),
    ]
    assert get_model_path("org/old") == old == resolve("org/old", allow_download=False).path
    assert get_model_path("org/new") == new == ensure_model_available("org/new")
    assert [model.model_id for model in list_models(vllm_root)] == ["org/old"]
    assert get_model_path("org/old", model_root()) is None


def test_their_places_are_read_at_each_call(
    put: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = put(tmp_path / "v", "org/old")
    other = put(tmp_path / "data/sage/models/sagellm", "org/new")
    assert list_models() == []
    monkeypatch.setenv("SAGE_LLM_MODEL_ROOT", str(tmp_path / "v"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert (get_model_path("org/old"), get_model_path("org/new")) == (one, other)


def test_one_root_under_two_names_is_one(
    put: Write, vllm_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(vllm_root, "org/old")
    monkeypatch.setenv("SAGE_SAGELLM_MODEL_ROOT", str(vllm_root))
    assert [(model.model_id, model.origin) for model in list_models()] == [("org/old", "sagellm")]
    assert delete_model("org/old")


def test_ours_comes_first_unless_it_is_incomplete(
    put: Write, vllm_root: Path, hf_dir: Path
) -> None:
    old = put(vllm_root, "org/x")
    mine = shutil.copytree(hf_dir, hf_dir.parent / "mine")
    add_model("org/x", mine)
    assert get_model_path("org/x") == mine
    assert [model.path for model in list_models()] == [mine]
    (mine / "model.safetensors").unlink()
    assert get_model_path("org/x") == old


def test_nothing_is_written_where_others_write(put: Write, vllm_root: Path) -> None:
    place = put(vllm_root, "org/old")
    before = _snapshot(vllm_root)
    assert not touch_model("org/old")
    assert ensure_model_available("org/old") == place
    with pytest.raises(ModelRegistryError, match="another program") as caught:
        delete_model("org/old")
    assert str(place) in caught.value.hint
    import_models()
    assert delete_model("org/old")  # the adopted entry
    assert _snapshot(vllm_root) == before
    assert get_model_path("org/old") == place
    assert delete_model("org/old", vllm_root)  # asked for by name
    assert not place.exists()


def test_a_corrupt_one_of_theirs_is_left_as_it_is(
    put: Write, vllm_root: Path, hf_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = put(vllm_root, "org/old")
    (vllm_root / "metadata.json").write_text("{")
    before = _snapshot(vllm_root)
    with caplog.at_level(logging.WARNING):
        assert get_model_path("org/old") == place
    assert "left as it is; 1 models were found on disk" in caplog.text
    assert _snapshot(vllm_root) == before


def test_an_unreadable_one_of_theirs_does_not_stop_ours(
    vllm_root: Path, hf_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (vllm_root / "metadata.json").mkdir(parents=True)
    add_model("mine", hf_dir)
    with caplog.at_level(logging.WARNING):
        assert [model.model_id for model in list_models()] == ["mine"]
    assert "cannot be read" in caplog.text


def test_importing_registers_in_place_and_twice_is_once(
    put: Write, vllm_root: Path, isage_root: Path
) -> None:
    old = put(vllm_root, "org/old", revision="v1", last_used=5, tags=["a"])
    broken = put(isage_root, "org/broken")
    (broken / "model.safetensors").write_bytes(b"short")
    put(vllm_root, "a b/../x")
    unlisted = shutil.copytree(old, isage_root / "org__unlisted")
    before = _snapshot(vllm_root), _snapshot(isage_root)

    outcomes = {each.model_id: each for each in import_models()}
    assert {name: each.outcome for name, each in outcomes.items()} == {
        "org/old": "adopted",
        "org/broken": "incomplete",
        "a b/../x": "refused",
        "org/unlisted": "adopted",
    }
    assert "model.safetensors" in outcomes["org/broken"].reason
    assert (_snapshot(vllm_root), _snapshot(isage_root)) == before
    entries = json.loads((model_root() / "metadata.json").read_text())
    assert entries["org/old"]["path"] == str(old)
    assert (entries["org/old"]["revision"], entries["org/old"]["tags"]) == ("v1", ["a"])
    assert entries["org/old"]["last_used"] == 5
    assert get_model_path("org/unlisted", model_root()) == unlisted
    assert get_model_path("org/old@v1", model_root()) == old

    assert {each.outcome for each in import_models()} == {"present", "incomplete", "refused"}
    assert json.loads((model_root() / "metadata.json").read_text()) == entries


def test_importing_keeps_an_entry_of_ours(put: Write, vllm_root: Path, hf_dir: Path) -> None:
    put(vllm_root, "org/x")
    add_model("org/x", hf_dir)
    (found,) = import_models()
    assert (found.outcome, str(hf_dir) in found.reason) == ("present", True)
    assert get_model_path("org/x") == hf_dir


def test_importing_from_a_directory_that_was_moved(
    put: Write, tmp_path: Path, vllm_root: Path
) -> None:
    put(tmp_path / "old", "org/x")
    moved = (tmp_path / "old").rename(tmp_path / "new")
    (found,) = import_models(moved)
    assert (found.outcome, found.path) == ("adopted", moved / "org__x")
    with pytest.raises(ModelRegistryError, match="no directory"):
        import_models(tmp_path / "none")


def test_importing_from_our_own_root_registers_what_lies_there(hf_dir: Path) -> None:
    model_root().mkdir(parents=True)
    place = hf_dir.rename(model_root() / "org__name__v1")
    (found,) = import_models(model_root())
    assert (found.model_id, found.outcome) == ("org/name@v1", "adopted")
    assert get_model_path("org/name@v1") == place


def test_importing_nothing_leaves_nothing(tmp_path: Path) -> None:
    assert import_models() == []
    assert not model_root().exists()


def test_a_path_that_leads_out_is_shown_and_not_used(
    put: Write, vllm_root: Path, hf_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = model_root()
    root.mkdir(parents=True)
    out = os.path.relpath(hf_dir, root)
    (root / "metadata.json").write_text(json.dumps({"x": {"path": out}}))
    (model,) = list_models()
    assert (model.is_stray, model.is_complete) == (True, False)
    with caplog.at_level(logging.WARNING):
        assert get_model_path("x") is None
    assert "leads out of it" in caplog.text
    assert delete_model("x")
    assert (hf_dir / "config.json").exists()
