"""Downloads where something is there already."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ModelFormatError
from sagellm_core.models import (
    ModelDownloadError,
    ModelNotFoundError,
    add_model,
    delete_model,
    download_model,
    ensure_model_available,
    get_model_path,
    list_models,
)
from sagellm_core.models.staging import unfinished_downloads

pytest.importorskip("huggingface_hub")


def test_an_incomplete_copy_is_the_beginning_of_the_next_download(
    hub: Any, tiny: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    path = download_model("org/tiny", progress=False).path
    (path / "model.safetensors").unlink()
    hub.asked.clear()
    with caplog.at_level(logging.WARNING):
        assert get_model_path("org/tiny") is None
    assert "model.safetensors is missing" in caplog.text
    assert [model.state for model in list_models()] == ["incomplete"]
    with pytest.raises(ModelNotFoundError):
        ensure_model_available("org/tiny", auto_download=False)
    assert ensure_model_available("org/tiny") == path
    assert (hub.fetched("model.safetensors"), hub.fetched("config.json")) == (1, 0)


def test_a_whole_copy_that_was_put_there_is_registered(
    hub: Any, tiny: dict[str, bytes], hf_dir: Path, root: Path
) -> None:
    root.mkdir(parents=True)
    place = hf_dir.rename(root / "org__tiny")
    assert download_model("org/tiny", progress=False).path == place
    assert hub.asked == []


def test_a_directory_that_another_id_uses_is_left_alone(
    hub: Any, tiny: dict[str, bytes], gguf_file: Path, root: Path
) -> None:
    (root / "org__tiny").mkdir(parents=True)
    mine = gguf_file.rename(root / "org__tiny/mine.gguf")
    add_model("mine", mine)
    info = download_model("org/tiny", progress=False)
    assert info.path.name.startswith("org__tiny~")
    assert get_model_path("mine") == mine
    assert get_model_path("org/tiny") == info.path


def test_files_of_somebody_else_are_not_lost(
    hub: Any, tiny: dict[str, bytes], root: Path, tmp_path: Path
) -> None:
    (root / "org__tiny").mkdir(parents=True)
    (root / "org__tiny/notes.md").write_text("mine")
    (root / "org__tiny/model-00009-of-00009.safetensors").write_bytes(b"of an older version")
    path = download_model("org/tiny", progress=False).path
    assert (path / "notes.md").read_text() == "mine"
    assert not (path / "model-00009-of-00009.safetensors").exists()
    (root / "org__tiny__v1").write_text("a file")
    assert download_model("org/tiny", "v1", progress=False).path.name.startswith("org__tiny__v1~")
    assert (root / "org__tiny__v1").read_text() == "a file"


def test_a_root_behind_a_link(
    hub: Any, tiny: dict[str, bytes], hf_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    root = tmp_path / "link"
    root.symlink_to(tmp_path / "real")
    mine = hf_dir.rename(root / "org__tiny")
    add_model("mine", mine, root=root)
    info = download_model("org/tiny", root=root, progress=False)
    assert info.path.name.startswith("org__tiny~")
    assert delete_model("mine", root)
    assert delete_model("org/tiny", root)
    assert not [place for place in root.iterdir() if place.name.startswith("org")]


def test_an_empty_file_is_a_file(hub: Any, tiny: dict[str, bytes]) -> None:
    tiny["merges.txt"] = b""
    path = download_model("org/tiny", progress=False, tags="one").path
    assert (path / "merges.txt").read_bytes() == b""
    assert list_models()[0].tags == ("one",)


def test_a_model_that_sage_has_is_not_fetched_again(
    hub: Any, tiny: dict[str, bytes], hf_dir: Path
) -> None:
    old = Path(os.environ["HOME"]) / ".sage/models/vllm"
    old.mkdir(parents=True)
    place = hf_dir.rename(old / "org__tiny")
    entry = {"path": str(place), "revision": None, "size_bytes": 5, "last_used": 1, "tags": ["x"]}
    (old / "metadata.json").write_text(json.dumps({"org/tiny": entry}))
    info = download_model("org/tiny", tags=["y"], progress=False)
    assert (info.path, info.tags, info.origin) == (place, ("x", "y"), "sagellm")
    assert hub.asked == []
    assert delete_model("org/tiny")
    assert (place / "config.json").exists()


def test_deleting_an_unfinished_download(hub: Any, big: bytes, root: Path) -> None:
    hub.cut["model.safetensors"] = 1000
    hub.statuses["config.json"] = [404]
    with pytest.raises(ModelDownloadError):
        download_model("org/big", progress=False)
    assert unfinished_downloads(root)
    assert delete_model("org/big")
    assert unfinished_downloads(root) == []
    assert not delete_model("org/big")


def test_ensure_takes_paths_of_models_too(hf_dir: Path, tmp_path: Path) -> None:
    assert ensure_model_available(str(hf_dir)) == hf_dir
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFormatError, match="empty"):
        ensure_model_available(str(tmp_path / "empty"))


def test_a_directory_that_is_no_model_does_not_hide_an_id(
    hf_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model("data", hf_dir)
    (tmp_path / "work/data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert ensure_model_available("data") == hf_dir


def test_a_registry_that_cannot_be_written_can_be_used(
    tiny: dict[str, bytes], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = download_model("org/tiny", progress=False).path
    (root / "metadata.json.lock").unlink()
    (root / "metadata.json.lock").mkdir()  # as good as read-only, for root too
    assert ensure_model_available("org/tiny") == path
