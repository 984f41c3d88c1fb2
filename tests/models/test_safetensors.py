from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagellm_core.contract import ModelFormatError, SageLLMError, UnsupportedModelError
from sagellm_core.models.safetensors import read_safetensors_header


def _write(place: Path, header: Any, data: int) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    place.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(data))
    return place


def test_agrees_with_the_safetensors_package(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    place = tmp_path / "real.safetensors"
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(2, dtype=torch.bfloat16)}, place)
    header = read_safetensors_header(place)
    assert header.tensors == {"a": (15, "float32"), "b": (2, "bfloat16")}
    assert header.data_bytes == 64


def test_a_scalar_and_an_empty_tensor_are_fine(tmp_path: Path) -> None:
    header = {
        "scalar": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
        "empty": {"dtype": "F32", "shape": [0, 7], "data_offsets": [4, 4]},
    }
    read = read_safetensors_header(_write(tmp_path / "x.safetensors", header, 4))
    assert read.tensors == {"scalar": (1, "float32"), "empty": (0, "float32")}


def test_a_truncated_file_is_refused_with_the_numbers(
    tmp_path: Path, make_safetensors: Callable[..., bytes]
) -> None:
    raw = make_safetensors({"w": ("F32", [100])})
    place = tmp_path / "x.safetensors"
    place.write_bytes(raw[:-1])
    with pytest.raises(ModelFormatError, match="truncated") as caught:
        read_safetensors_header(place)
    assert str(len(raw)) in caught.value.message
    assert str(len(raw) - 1) in caught.value.message


@pytest.mark.parametrize("length", [0, 3, 7, 8, 20])
def test_a_file_cut_in_its_header_is_refused(
    tmp_path: Path, make_safetensors: Callable[..., bytes], length: int
) -> None:
    place = tmp_path / "x.safetensors"
    place.write_bytes(make_safetensors({"w": ("F32", [100])})[:length])
    with pytest.raises(ModelFormatError):
        read_safetensors_header(place)


@pytest.mark.parametrize(
    ("raw", "named", "advice"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
        (b"<!DOCTYPE html>", "an HTML", "again"),
        (b"PK\x03\x04 and more", "a zip archive", "again"),
        (b"GGUF\x03\0\0\0\x20", "a GGUF file", "again"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path: Path, raw: bytes, named: str, advice: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw)
    with pytest.raises(ModelFormatError, match=named) as caught:
        read_safetensors_header(path)
    assert advice in caught.value.hint


def test_a_huge_header_is_refused_unread(tmp_path: Path) -> None:
    place = tmp_path / "x.safetensors"
    place.write_bytes(struct.pack("<Q", 2**62) + bytes(100))
    with pytest.raises(ModelFormatError, match="4611686018427387904"):
        read_safetensors_header(place)


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ([], 0),
        (b"{", 0),
        (b"\xff\xfe", 0),
        (b"[" * 100_000, 0),
        ({"w": 5}, 0),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, 4),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, 4),
        ({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, 4),
        ({"w": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, 4),
        ({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, 4),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, 8),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, 5),
    ],
)
def test_headers_that_break_the_format_are_refused(tmp_path: Path, header: Any, data: int) -> None:
    with pytest.raises(ModelFormatError):
        read_safetensors_header(_write(tmp_path / "x.safetensors", header, data))


def test_an_unknown_dtype_is_named(tmp_path: Path) -> None:
    header = {"w": {"dtype": "F3", "shape": [1], "data_offsets": [0, 4]}}
    with pytest.raises(UnsupportedModelError, match="F3"):
        read_safetensors_header(_write(tmp_path / "x.safetensors", header, 4))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=8,
)
_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "F4", "?"]) | _JSON,
        "shape": st.lists(st.integers(-1, 2**70), max_size=3) | _JSON,
        "data_offsets": st.lists(st.integers(-1, 2**70), max_size=3) | _JSON,
    },
)


@settings(max_examples=200, deadline=None)
@given(header=st.dictionaries(st.text(max_size=4), _ENTRY | _JSON, max_size=3) | _JSON)
def test_no_header_raises_anything_but_our_errors(
    header: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = _write(tmp_path_factory.getbasetemp() / "fuzz.safetensors", header, 8)
    with contextlib.suppress(SageLLMError):
        assert read_safetensors_header(place).data_bytes == 8
