from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import (
    ModelFormat,
    ModelFormatError,
    ModelNotFoundError,
    UnsafeModelError,
    UnsupportedModelError,
)
from sagellm_core.models import describe


def _configure(place: Path, **changes: Any) -> None:
    config = json.loads((place / "config.json").read_text()) | changes
    (place / "config.json").write_text(json.dumps(config))


def test_a_directory_is_described_from_its_headers(hf_dir: Path) -> None:
    description = describe(hf_dir)
    assert description.format is ModelFormat.SAFETENSORS
    assert description.path == hf_dir
    assert description.model_type == "llama"
    assert description.architecture == "LlamaForCausalLM"
    assert (description.context_length, description.vocab_size) == (128, 32)
    assert description.parameter_count == 32 * 4 + 4
    assert description.weight_bytes == 32 * 4 * 2 + 4 * 4
    assert description.weight_dtype == "bfloat16"
    assert description.files == (hf_dir / "model.safetensors",)


def test_sizes_are_found_in_a_nested_text_config(hf_dir: Path) -> None:
    _configure(hf_dir, text_config={"vocab_size": 99, "max_position_embeddings": 7})
    description = describe(hf_dir)
    assert (description.context_length, description.vocab_size) == (7, 99)


def _shard(place: Path, make: Callable[..., bytes]) -> None:
    (place / "model.safetensors").unlink()
    (place / "b.safetensors").write_bytes(make({"w.0": ("F32", [8])}))
    (place / "a.safetensors").write_bytes(make({"w.1": ("F32", [4])}))
    index = {"weight_map": {"w.0": "b.safetensors", "w.1": "a.safetensors"}}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_are_added_up(hf_dir: Path, make_safetensors: Callable[..., bytes]) -> None:
    _shard(hf_dir, make_safetensors)
    description = describe(hf_dir)
    assert description.parameter_count == 12
    assert [file.name for file in description.files] == ["a.safetensors", "b.safetensors"]


def test_a_missing_shard_is_named(hf_dir: Path, make_safetensors: Callable[..., bytes]) -> None:
    _shard(hf_dir, make_safetensors)
    (hf_dir / "b.safetensors").unlink()
    with pytest.raises(ModelFormatError, match=r"1 of 2 weight files: b\.safetensors"):
        describe(hf_dir)


def test_a_truncated_shard_is_refused(hf_dir: Path, make_safetensors: Callable[..., bytes]) -> None:
    _shard(hf_dir, make_safetensors)
    whole = (hf_dir / "a.safetensors").read_bytes()
    (hf_dir / "a.safetensors").write_bytes(whole[:-5])
    with pytest.raises(ModelFormatError, match=f"needs {len(whole)} bytes.*has {len(whole) - 5}"):
        describe(hf_dir)


def test_an_index_of_another_release_is_refused(
    hf_dir: Path, make_safetensors: Callable[..., bytes]
) -> None:
    _shard(hf_dir, make_safetensors)
    (hf_dir / "a.safetensors").write_bytes(make_safetensors({"other": ("F32", [4])}))
    with pytest.raises(ModelFormatError, match=r"w\.1.*a\.safetensors"):
        describe(hf_dir)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", 5])
def test_an_index_cannot_reach_outside(hf_dir: Path, name: Any) -> None:
    (hf_dir / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(ModelFormatError, match="not beside it"):
        describe(hf_dir)


def test_one_tensor_in_two_files_is_refused(
    hf_dir: Path, make_safetensors: Callable[..., bytes]
) -> None:
    (hf_dir / "model.safetensors").unlink()
    for name in ("x.safetensors", "y.safetensors"):
        (hf_dir / name).write_bytes(make_safetensors({"w": ("F32", [8])}))
    with pytest.raises(ModelFormatError, match=r"'w' is in x\.safetensors and in y\.safetensors"):
        describe(hf_dir)


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b"\xff\xfe{}", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_a_corrupt_config_is_refused(hf_dir: Path, raw: bytes) -> None:
    (hf_dir / "config.json").write_bytes(raw)
    with pytest.raises(ModelFormatError, match=r"config\.json"):
        describe(hf_dir)


@pytest.mark.parametrize(
    "change",
    [
        {"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}},
        {"trust_remote_code": True},
        {"text_config": {"auto_map": {"AutoConfig": "x.Y"}}},
        {"parts": [{"deep": {"auto_map": {"AutoConfig": "x.Y"}}}]},
    ],
)
def test_remote_code_is_refused_and_nothing_is_run(hf_dir: Path, change: dict[str, Any]) -> None:
    marker = hf_dir / "ran"
    (hf_dir / "modeling_evil.py").write_text(f"open({str(marker)!r}, 'w')")
    _configure(hf_dir, **change)
    with pytest.raises(UnsafeModelError, match="nothing of it was run") as caught:
        describe(hf_dir)
    assert caught.value.hint
    assert not marker.exists()


def test_declining_remote_code_is_no_reason_to_refuse(hf_dir: Path) -> None:
    _configure(hf_dir, trust_remote_code=False)
    assert describe(hf_dir).model_type == "llama"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "x.pth", "x.ckpt", "x.pkl"])
@pytest.mark.parametrize("with_config", [True, False])
def test_pickle_weights_are_refused_unread(hf_dir: Path, name: str, with_config: bool) -> None:
    (hf_dir / "model.safetensors").rename(hf_dir / name)
    if not with_config:
        (hf_dir / "config.json").unlink()
    with pytest.raises(UnsafeModelError, match=name) as caught:
        describe(hf_dir)
    assert "safetensors" in caught.value.hint


def test_an_index_of_pickle_files_is_refused(hf_dir: Path) -> None:
    (hf_dir / "evil.bin").write_bytes(b"\x80\x04.")
    index = {"weight_map": {"w": "evil.bin"}}
    (hf_dir / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnsafeModelError):
        describe(hf_dir)


def test_pickle_beside_safetensors_is_ignored(hf_dir: Path) -> None:
    (hf_dir / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert describe(hf_dir).files == (hf_dir / "model.safetensors",)


def test_no_weights(hf_dir: Path) -> None:
    (hf_dir / "model.safetensors").unlink()
    with pytest.raises(ModelFormatError, match="no weights"):
        describe(hf_dir)


def test_no_config(hf_dir: Path) -> None:
    (hf_dir / "config.json").unlink()
    with pytest.raises(ModelFormatError, match=r"no config\.json"):
        describe(hf_dir)


def test_the_directory_above_the_model_names_the_model(hf_dir: Path) -> None:
    with pytest.raises(ModelFormatError) as caught:
        describe(hf_dir.parent)
    assert str(hf_dir) in caught.value.hint


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pipe_among_the_files_is_refused_instead_of_waited_for(hf_dir: Path, name: str) -> None:
    (hf_dir / name).unlink(missing_ok=True)
    os.mkfifo(hf_dir / name)
    with pytest.raises(ModelFormatError, match=f"{name} is neither") as caught:
        describe(hf_dir)
    assert caught.value.hint


def test_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="empty"):
        describe(tmp_path)


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(UnsupportedModelError, match="adapter"):
        describe(tmp_path)


def test_the_only_gguf_of_a_directory_is_the_model(gguf_file: Path) -> None:
    description = describe(gguf_file.parent)
    assert description.format is ModelFormat.GGUF
    assert description.path == gguf_file
    assert description.model_type == "llama"
    assert (description.context_length, description.vocab_size) == (128, 600)
    assert description.weight_dtype == "Q8_0"
    json.dumps(dict(description.config))


def test_several_ggufs_have_to_be_chosen_from(gguf_file: Path) -> None:
    (gguf_file.parent / "other.gguf").write_bytes(b"")
    with pytest.raises(ModelFormatError, match=r"2 GGUF files: other\.gguf, tiny\.gguf"):
        describe(gguf_file.parent)


def test_a_vocabulary_alone_is_no_model(tmp_path: Path, make_gguf: Callable[..., bytes]) -> None:
    place = tmp_path / "vocab.gguf"
    place.write_bytes(make_gguf({"general.architecture": "llama"}, {}))
    with pytest.raises(ModelFormatError, match="no weights"):
        describe(place)


def test_a_gguf_without_an_architecture(tmp_path: Path, make_gguf: Callable[..., bytes]) -> None:
    place = tmp_path / "x.gguf"
    place.write_bytes(make_gguf({"a": 1}, {"w": ([4], 0, 16)}))
    with pytest.raises(ModelFormatError, match="architecture"):
        describe(place)
