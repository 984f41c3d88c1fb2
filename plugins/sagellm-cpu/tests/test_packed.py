"""Packed weights on disk: restored as they were, or made again, never wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sagellm_cpu.adapter import CPUAdapter
from sagellm_cpu.native.library_cache import LibraryCache
from sagellm_cpu.packed import PackedCache, model_hash
from sagellm_torch import load_model

from sagellm_core.contract import ConfigurationError, LoadOptions
from sagellm_core.models import describe

_TENSORS = {
    "a": torch.arange(7, dtype=torch.float32),
    "b": torch.arange(200, dtype=torch.uint8),
    "c": torch.ones(3, 5, dtype=torch.bfloat16),
    "none": torch.empty(0, 4),
}
_KEY = "0" * 32


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny random model."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    config = AutoConfig.for_model(
        "qwen2",
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=199,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    path = tmp_path / "model"
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    return path


@pytest.fixture
def cache(compiled: Path, tmp_path: Path) -> Path:
    """A cache directory of the test's own, with the compiled library."""
    directory = tmp_path / "cache"
    directory.mkdir()
    (directory / "native").symlink_to(compiled / "native")
    return directory


def _load(path: Path, cache: Path, quantization: str = "int8", **options: Any) -> Any:
    return load_model(
        describe(path),
        CPUAdapter(options, cache),
        LoadOptions(cache_dir=cache, quantization=quantization),
    )


def _logits(model: Any) -> torch.Tensor:
    """Of every weight, in a way: what each layer makes of the same numbers."""
    made = torch.Generator().manual_seed(0)
    seen = []
    weights = model._decoder.weights if hasattr(model._decoder, "weights") else None
    native = model.decoder._weights if weights is None else None
    for layer in (weights or native).layers:
        for name in ("qkv", "output", "gate_up", "down"):
            part = getattr(layer, name)
            packed = getattr(part, "weight", part)
            x = torch.randint(0, packed.out_features, (4,), generator=made)
            seen.append(packed.unpack_rows(x).flatten())
    return torch.cat(seen)


def _files(cache: Path) -> list[Path]:
    return sorted((cache / "packed").glob("*.bin"))


@pytest.mark.parametrize("quantization", ["none", "int8", "int4"])
def test_the_second_start_restores_what_the_first_packed(model, cache, quantization) -> None:
    first = _load(model, cache, quantization)
    (path,) = _files(cache)
    stamp = path.stat().st_ino
    second = _load(model, cache, quantization)
    assert torch.equal(_logits(first), _logits(second))
    assert (second.quantization, second.notes) == (first.quantization, first.notes)
    assert [file.stat().st_ino for file in _files(cache)] == [stamp]


def test_other_weights_settings_and_options_have_other_files(model, cache) -> None:
    _load(model, cache, "int8")
    _load(model, cache, "int4")
    assert len(_files(cache)) == 2
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    _load(model, cache, "int8")
    assert len(_files(cache)) == 3
    _load(model, cache, "none", packed_cache="off")
    assert len(_files(cache)) == 3
    with pytest.raises(ConfigurationError, match="packed_cache='on'"):
        CPUAdapter({"packed_cache": "on"})


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_damage_anywhere_is_found(tmp_path, place, bit, cut) -> None:
    kept = PackedCache(tmp_path)
    assert kept.save(_KEY, {"x": 1}, _TENSORS)
    assert kept.folder is not None
    path = kept.folder / f"{_KEY}.bin"
    data = bytearray(path.read_bytes())
    at = int(place * len(data))
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    path.write_bytes(data)
    assert kept.load(_KEY) is None
    assert not path.exists()


def test_what_is_kept_is_read_where_not_even_its_time_can_be_written(tmp_path) -> None:
    """As on a file system that is mounted read-only: an image that was warmed beforehand."""
    kept = PackedCache(tmp_path)
    assert kept.save(_KEY, {"x": 1}, _TENSORS)
    program = """
        import errno, os, sys
        from pathlib import Path
        from sagellm_cpu.packed import PackedCache

        def refused(event, arguments):
            if event == "os.utime":
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        sys.addaudithook(refused)
        found = PackedCache(Path(sys.argv[1])).load(sys.argv[2])
        assert found is not None and found[0] == {"x": 1}
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), _KEY],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "seteuid") or os.geteuid() != 0, reason="needs two users")
def test_a_folder_of_another_user_is_left_alone(tmp_path) -> None:
    """As after one start with sudo: what may not be looked into is no reason to fail."""
    kept = PackedCache(tmp_path)
    assert kept.save(_KEY, {"x": 1}, _TENSORS)
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        assert kept.load(_KEY) is None
        assert not kept.save(_KEY, {"x": 1}, _TENSORS)
    finally:
        os.seteuid(0)
    assert kept.load(_KEY) is not None


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', "[" * 100_000])
def test_hashes_that_cannot_be_read_are_made_again(tmp_path, text) -> None:
    weights = tmp_path / "m.gguf"
    weights.write_bytes(b"weights")
    expected = model_hash([weights], tmp_path)
    (tmp_path / "hashes.json").write_text(text, encoding="utf-8")
    assert model_hash([weights], tmp_path) == expected


def test_tensors_come_back_and_lie_as_the_kernels_want(tmp_path) -> None:
    kept = PackedCache(tmp_path)
    assert kept.load(_KEY) is None
    assert kept.save(_KEY, {"x": 1}, _TENSORS)
    found = kept.load(_KEY)
    assert found is not None
    assert found[0] == {"x": 1}
    for name, tensor in _TENSORS.items():
        assert torch.equal(found[1][name], tensor)
        assert found[1][name].dtype == tensor.dtype
        assert found[1][name].data_ptr() % 64 == 0
    # Under another name it is not what it says it is.
    assert kept.folder is not None
    (kept.folder / f"{_KEY}.bin").rename(kept.folder / f"{'1' * 32}.bin")
    assert kept.load("1" * 32) is None


def test_a_damaged_file_is_made_again(model, cache, caplog) -> None:
    first = _load(model, cache)
    (path,) = _files(cache)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    second = _load(model, cache)
    assert torch.equal(_logits(first), _logits(second))
    assert "not whole" in caplog.text
    assert _files(cache)[0].read_bytes() != bytes(data)


def test_files_that_others_may_write_are_not_used(tmp_path) -> None:
    kept = PackedCache(tmp_path)
    assert kept.save(_KEY, {}, _TENSORS)
    assert kept.folder is not None
    (kept.folder / f"{_KEY}.bin").chmod(0o666)
    assert kept.load(_KEY) is None


def test_new_folders_are_ones_own_whatever_the_umask(tmp_path, compiled) -> None:
    """Many systems let a user's group write what the user makes."""
    (library,) = (compiled / "native").glob("*.so")
    before = os.umask(0o002)
    try:
        kept = PackedCache(tmp_path)
        assert kept.save(_KEY, {}, _TENSORS)
        assert kept.load(_KEY) is not None
        libraries = LibraryCache(tmp_path, library.stem.split("-")[0])
        assert libraries.writable()
        assert libraries.keep(library) is not None
        assert libraries.find() is not None
    finally:
        os.umask(before)


def test_a_directory_that_cannot_be_written(model, cache, caplog) -> None:
    (cache / "packed").write_text("a file", encoding="utf-8")
    assert _load(model, cache).quantization == "int8"
    assert "SAGELLM_CACHE_DIR" in caplog.text


def test_a_full_disk(tmp_path) -> None:
    program = """
        import resource, signal, sys
        from pathlib import Path
        import torch
        from sagellm_cpu.packed import PackedCache
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        kept = PackedCache(Path(sys.argv[1]))
        assert not kept.save("0" * 32, {}, {"a": torch.ones(10_000)})
        print(sorted(path.name for path in kept.folder.iterdir()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_abandoned_files_go(tmp_path) -> None:
    folder = tmp_path / "packed"
    folder.mkdir()
    old, young = folder / ".writing-old", folder / ".writing-young"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    assert PackedCache(tmp_path).save(_KEY, {}, _TENSORS)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_hash_is_remembered_until_the_file_changes(tmp_path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    folder = tmp_path / "packed"
    first = model_hash([path], folder)
    assert model_hash([path], folder) == first
    path.write_bytes(b"two")
    second = model_hash([path], folder)
    assert second != first
    (folder / "hashes.json").write_text("[not what it was", encoding="utf-8")
    assert model_hash([path], folder) == second
