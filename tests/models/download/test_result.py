"""What a download leaves, against a small hub on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ModelFormatError
from sagellm_core.models import (
    ModelDownloadError,
    delete_model,
    download_model,
    ensure_model_available,
    find_model,
    get_model_path,
    list_models,
    resolve,
)

pytest.importorskip("huggingface_hub")


def test_a_download_is_real_files_in_their_place(tiny: dict[str, bytes], root: Path) -> None:
    info = download_model("org/tiny", tags=["small"], progress=False)
    assert info.path == root / "org__tiny" == get_model_path("org/tiny")
    assert {name: (info.path / name).read_bytes() for name in tiny} == tiny
    assert not any(file.is_symlink() for file in info.path.iterdir())
    assert (info.tags, info.revision, bool(info.commit)) == (("small",), "", True)
    assert info.size_bytes >= sum(map(len, tiny.values()))
    assert list_models() == [info]
    assert list((root / ".downloads").iterdir()) == [root / ".downloads/org__tiny.lock"]


def test_a_whole_model_is_not_fetched_again(hub: Any, tiny: dict[str, bytes]) -> None:
    first = download_model("org/tiny", tags=["a"], progress=False)
    hub.asked.clear()
    again = download_model("org/tiny", tags=["b"], progress=False)
    assert hub.asked == []
    assert (again.path, again.tags) == (first.path, ("a", "b"))
    assert again.last_used >= first.last_used


def test_force_fetches_everything_again(hub: Any, tiny: dict[str, bytes]) -> None:
    path = download_model("org/tiny", progress=False).path
    (path / "config.json").write_text('{"model_type": "changed"}')
    download_model("org/tiny", force=True, progress=False)
    assert (path / "config.json").read_bytes() == tiny["config.json"]
    assert hub.fetched("model.safetensors") == 2


def test_a_failed_force_leaves_what_was_there(hub: Any, tiny: dict[str, bytes]) -> None:
    path = download_model("org/tiny", progress=False).path
    hub.statuses["model.safetensors"] = [404]
    with pytest.raises(ModelDownloadError):
        download_model("org/tiny", force=True, progress=False)
    assert get_model_path("org/tiny") == path


def test_revisions_lie_side_by_side(hub: Any, tiny: dict[str, bytes], root: Path) -> None:
    default = download_model("org/tiny", progress=False)
    v1 = download_model("org/tiny", "v1", progress=False)
    v2 = download_model("org/tiny@v2", progress=False)
    assert [each.path.name for each in (default, v1, v2)] == [
        "org__tiny",
        "org__tiny__v1",
        "org__tiny__v2",
    ]
    assert (v1.model_id, v1.revision) == ("org/tiny@v1", "v1")
    assert get_model_path("org/tiny") == default.path
    assert get_model_path("org/tiny@v1") == v1.path
    assert ensure_model_available("org/tiny", "v2") == v2.path
    assert delete_model("org/tiny@v1")
    assert get_model_path("org/tiny") == default.path
    assert delete_model("org/tiny")
    assert get_model_path("org/tiny") == v2.path  # the newest that there is
    assert not delete_model("org/tiny")


def test_a_commit_finds_the_download_that_has_it(hub: Any, tiny: dict[str, bytes]) -> None:
    info = download_model("org/tiny", progress=False)
    hub.asked.clear()
    assert find_model(f"org/tiny@{hub.commit}") == info
    assert download_model("org/tiny", hub.commit, progress=False).path == info.path
    assert resolve("org/tiny").revision == hub.commit
    assert hub.asked == []


def test_ids_that_share_a_directory_name_do_not_share_the_directory(
    hub: Any, tiny: dict[str, bytes]
) -> None:
    hub.repositories["a/b__v1"] = hub.repositories["a/b"] = tiny
    one = download_model("a/b__v1", progress=False)
    other = download_model("a/b", "v1", progress=False)
    assert one.path != other.path
    assert get_model_path("a/b__v1") == one.path
    assert get_model_path("a/b@v1") == other.path


def test_one_gguf_file_of_several(hub: Any, gguf_raw: bytes, root: Path) -> None:
    hub.repositories["org/quants"] = {"a.gguf": gguf_raw, "b.gguf": gguf_raw, "config.json": b"{}"}
    with pytest.raises(ModelFormatError, match="2 GGUF files") as caught:
        download_model("org/quants", progress=False)
    assert caught.value.hint == "Name one of them: org/quants:a.gguf"
    info = download_model("org/quants:b.gguf", progress=False)
    assert sorted(file.name for file in info.path.glob("*")) == [
        ".sagellm.json",
        "b.gguf",
        "config.json",
    ]
    assert resolve("org/quants:b.gguf").path == info.path / "b.gguf"
    assert hub.fetched("a.gguf") == 0
    assert resolve("org/quants:a.gguf").path.name == "a.gguf"
    assert len(list_models()) == 2
    with pytest.raises(ModelFormatError, match=r"no file c\.gguf"):
        download_model("org/quants:c.gguf", progress=False)


def test_patterns_narrow_the_choice_and_never_widen_it(
    hub: Any, tiny: dict[str, bytes], gguf_raw: bytes
) -> None:
    tiny["evil.py"] = tiny["pytorch_model.bin"] = b"\x80\x04."
    path = download_model("org/tiny", progress=False, allow_patterns=["*"]).path
    assert not {"evil.py", "pytorch_model.bin"} & {file.name for file in path.iterdir()}
    hub.repositories["org/quants"] = {"a.gguf": gguf_raw, "b.gguf": gguf_raw}
    path = download_model("org/quants", progress=False, ignore_patterns="a*").path
    assert (path / "b.gguf").exists()


def test_the_parts_of_a_sentence_encoder_come_too(hub: Any, tiny: dict[str, bytes]) -> None:
    tiny["modules.json"] = b"[]"
    tiny["1_Pooling/config.json"] = b'{"pooling_mode_mean_tokens": true}'
    tiny["onnx/model.safetensors"] = b"x"
    tiny["../../evil.json"] = tiny[".sagellm.json"] = b"{}"
    path = download_model("org/tiny", progress=False).path
    assert (path / "1_Pooling/config.json").read_bytes() == tiny["1_Pooling/config.json"]
    assert not (path / "onnx").exists()
    assert json.loads((path / ".sagellm.json").read_text())["model_id"] == "org/tiny"
