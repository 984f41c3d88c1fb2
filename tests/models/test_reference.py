from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagellm_core.contract import (
    ModelError,
    ModelFormat,
    ModelFormatError,
    ModelNotFoundError,
    UnsafeModelError,
)
from sagellm_core.models import add_model, describe, resolve


def test_a_path_as_text_or_path_relative_or_absolute(
    hf_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hf_dir.parent)
    for reference in (hf_dir, str(hf_dir), "tiny-llama", "./tiny-llama", Path("tiny-llama")):
        resolved = resolve(reference)
        assert (resolved.path, resolved.source) == (hf_dir, "path")
        assert resolved.kind is ModelFormat.SAFETENSORS


def test_a_tilde_is_expanded(gguf_raw: bytes) -> None:
    place = Path(os.environ["HOME"]) / "m.gguf"
    place.write_bytes(gguf_raw)
    assert resolve("~/m.gguf").path == place
    assert resolve(Path("~/m.gguf")).path == place


@pytest.mark.parametrize("reference", ["", "   ", "a\0b", 5, None, b"x"])
def test_what_is_no_reference_at_all(reference: Any) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(reference)
    assert caught.value.hint


def test_a_typing_mistake_names_the_sibling(hf_dir: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(hf_dir.parent / "tiny-lama")
    assert caught.value.hint == f"Did you mean {hf_dir}?"


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=f"{tmp_path}/no does not exist"):
        resolve(f"{tmp_path}/no/such/model")


def test_one_file_of_a_directory_names_the_directory(hf_dir: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        with pytest.raises(ModelFormatError) as caught:
            resolve(hf_dir / name)
        assert str(hf_dir) in caught.value.hint


def test_a_pickle_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(UnsafeModelError):
        resolve(tmp_path / "model.pt")


def test_a_socket_is_no_model(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        with pytest.raises(ModelFormatError, match="neither"):
            resolve(tmp_path / "s")


def test_a_registered_name(hf_dir: Path) -> None:
    add_model("my/llama", hf_dir, revision="r1")
    resolved = resolve("my/llama")
    assert (resolved.path, resolved.source, resolved.revision) == (hf_dir, "registry", "r1")
    assert describe("my/llama").reference == "my/llama"


def test_a_registered_name_misspelt(hf_dir: Path) -> None:
    add_model("my-llama", hf_dir)
    with pytest.raises(ModelNotFoundError, match="my-lama") as caught:
        resolve("my-lama")
    assert "my-llama" in caught.value.hint


def test_a_registered_model_that_is_gone(hf_dir: Path) -> None:
    add_model("gone", hf_dir)
    hf_dir.rename(hf_dir.parent / "moved")
    with pytest.raises(ModelNotFoundError, match="gone"):
        resolve("gone")


def test_a_path_wins_over_a_registered_name(
    hf_dir: Path, gguf_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model("tiny-llama", gguf_file)
    monkeypatch.chdir(hf_dir.parent)
    assert resolve("tiny-llama").path == hf_dir


def test_a_file_of_a_package(fake_package: Callable[..., Path], gguf_raw: bytes) -> None:
    site = fake_package("some-model", {"some_model/data/tiny.gguf": gguf_raw})
    for reference in (
        "package:some-model/some_model/data/tiny.gguf",
        "package:some-model/tiny.gguf",
        "package:Some_Model/data/tiny.gguf",
    ):
        resolved = resolve(reference)
        assert resolved.path == site / "some_model/data/tiny.gguf"
        assert resolved.source == "package"


def test_a_directory_of_a_package(fake_package: Callable[..., Path], hf_dir: Path) -> None:
    files = {f"some_model/it/{file.name}": file.read_bytes() for file in hf_dir.iterdir()}
    site = fake_package("some-model", files)
    assert describe("package:some-model/it").path == site / "some_model/it"


def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve("package:no-such-dist-here/x.gguf")
    assert caught.value.hint == "pip install no-such-dist-here"


def test_a_file_that_the_package_lacks(fake_package: Callable[..., Path], gguf_raw: bytes) -> None:
    fake_package("some-model", {"some_model/tiny.gguf": gguf_raw})
    with pytest.raises(ModelNotFoundError, match=r"some-model 1\.2 has no file") as caught:
        resolve("package:some-model/big.gguf")
    assert "package:some-model/some_model/tiny.gguf" in caught.value.hint


def test_a_base_name_that_fits_twice(fake_package: Callable[..., Path], gguf_raw: bytes) -> None:
    fake_package("some-model", {"some_model/a/t.gguf": gguf_raw, "some_model/b/t.gguf": gguf_raw})
    with pytest.raises(ModelFormatError, match="2 files"):
        resolve("package:some-model/t.gguf")


def test_a_recorded_file_that_was_deleted(
    fake_package: Callable[..., Path], gguf_raw: bytes
) -> None:
    site = fake_package("some-model", {"some_model/t.gguf": gguf_raw})
    (site / "some_model/t.gguf").unlink()
    with pytest.raises(ModelNotFoundError, match="gone") as caught:
        resolve("package:some-model/t.gguf")
    assert "--force-reinstall" in caught.value.hint


def test_no_reference_reaches_outside_a_package(
    fake_package: Callable[..., Path], gguf_file: Path
) -> None:
    outside = "../tiny.gguf"
    site = fake_package("some-model", {}, extra_records=(outside, str(gguf_file)))
    assert (site / outside).exists()
    for file in (outside, "tiny.gguf", f"x/../{outside}", f"/{gguf_file}"):
        with pytest.raises(ModelError):
            resolve(f"package:some-model/{file}")


@pytest.mark.parametrize("reference", ["package:", "package:x", "package:/x", "package:x/"])
def test_malformed_package_references(reference: str) -> None:
    with pytest.raises(ModelFormatError, match="package:DIST/FILE"):
        resolve(reference)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    reference=st.text(max_size=40)
    | st.text(alphabet="a./~@:-_", max_size=12)
    | st.text(max_size=20).map("package:".__add__)
)
def test_no_text_raises_anything_but_model_errors(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(ModelError):
        assert resolve(reference, allow_download=False).path.exists()
