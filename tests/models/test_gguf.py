from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagellm_core.contract import ModelFormatError, SageLLMError, UnsupportedModelError
from sagellm_core.models.ggml_types import GGML_TYPES
from sagellm_core.models.gguf import read_gguf_header


def test_the_header_says_what_the_file_holds(gguf_file: Path) -> None:
    header = read_gguf_header(gguf_file)
    assert header.version == 3
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["general.tags"] == ["a", "b"]
    assert header.elements == {"Q8_0": 64 * 600, "float32": 64}
    assert header.weight_bytes == 64 // 32 * 34 * 600 + 256


def test_long_arrays_are_counted_and_not_kept(gguf_file: Path) -> None:
    header = read_gguf_header(gguf_file)
    assert header.array_lengths["tokenizer.ggml.tokens"] == 600
    assert "tokenizer.ggml.tokens" not in header.metadata
    assert "tokenizer.ggml.scores" not in header.metadata


def test_version_2_is_read(tmp_path: Path, make_gguf: Callable[..., bytes]) -> None:
    place = tmp_path / "two.gguf"
    place.write_bytes(make_gguf({"general.architecture": "llama"}, {"w": ([4], 0, 16)}, version=2))
    assert read_gguf_header(place).version == 2


def test_block_sizes_agree_with_the_gguf_package() -> None:
    theirs = {kind.value: sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    for number, kind in GGML_TYPES.items():
        if number in theirs:
            assert (kind.elements, kind.bytes) == theirs[number], kind.name


def test_a_vocabulary_of_200_000_is_skipped_fast(
    tmp_path: Path, make_gguf: Callable[..., bytes]
) -> None:
    place = tmp_path / "large.gguf"
    tokens = [str(number) for number in range(200_000)]
    place.write_bytes(make_gguf({"tokenizer.ggml.tokens": tokens}, {"w": ([4], 0, 16)}))
    began = time.perf_counter()
    read_gguf_header(place)
    # About 30 ms; the bound only tells reading headers from something quadratic.
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04abcdef", "zip archive"),
        (b"\x80\x02}q\x00(X", "pickle"),
        (b"ggjt\x01\x00\x00\x00", "GGJT"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"version https://git-lfs", "LFS pointer"),
        (b"ABCDEFGH", "b'ABCD'"),
    ],
)
def test_foreign_files_are_named(tmp_path: Path, raw: bytes, says: str) -> None:
    place = tmp_path / "x.gguf"
    place.write_bytes(raw)
    with pytest.raises(ModelFormatError, match="not a GGUF file") as caught:
        read_gguf_header(place)
    assert says in caught.value.message
    assert caught.value.hint


def test_a_truncated_file_is_refused_with_the_numbers(gguf_file: Path) -> None:
    raw = gguf_file.read_bytes()
    gguf_file.write_bytes(raw[:-100])
    with pytest.raises(ModelFormatError, match="truncated") as caught:
        read_gguf_header(gguf_file)
    assert str(len(raw) - 100) in caught.value.message


def test_every_truncation_is_noticed(gguf_file: Path, gguf_raw: bytes) -> None:
    for length in (*range(200), *range(200, len(gguf_raw), 499)):
        gguf_file.write_bytes(gguf_raw[:length])
        with pytest.raises(ModelFormatError):
            read_gguf_header(gguf_file)


@pytest.mark.parametrize("version", [1, 4, 3 << 24])
def test_other_versions_are_refused(tmp_path: Path, version: int) -> None:
    place = tmp_path / "x.gguf"
    place.write_bytes(b"GGUF" + struct.pack("<IQQ", version, 0, 0))
    with pytest.raises(UnsupportedModelError):
        read_gguf_header(place)


def test_a_split_file_is_refused_with_the_way_out(
    tmp_path: Path, make_gguf: Callable[..., bytes]
) -> None:
    place = tmp_path / "x-00001-of-00003.gguf"
    place.write_bytes(make_gguf({"split.count": 3}, {}))
    with pytest.raises(UnsupportedModelError, match="3 parts") as caught:
        read_gguf_header(place)
    assert "merge" in caught.value.hint


def test_an_unknown_weight_type_is_named(tmp_path: Path, make_gguf: Callable[..., bytes]) -> None:
    place = tmp_path / "x.gguf"
    place.write_bytes(make_gguf({}, {"blk.0": ([32], 99, 32)}))
    with pytest.raises(UnsupportedModelError, match=r"'blk\.0'.*99"):
        read_gguf_header(place)


@pytest.mark.parametrize("what", ["tensors", "pairs", "array", "string", "key"])
def test_hostile_counts_cost_nothing(tmp_path: Path, what: str) -> None:
    huge = 2**63
    head = {
        "tensors": struct.pack("<QQ", huge, 0),
        "pairs": struct.pack("<QQ", 0, huge),
        "array": struct.pack("<QQQ", 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 8, huge),
        "string": struct.pack("<QQQ", 0, 1, 1) + b"a" + struct.pack("<IQ", 8, huge),
        "key": struct.pack("<QQQ", 0, 1, huge),
    }[what]
    place = tmp_path / "x.gguf"
    place.write_bytes(b"GGUF" + struct.pack("<I", 3) + head + bytes(64))
    began = time.perf_counter()
    with pytest.raises(ModelFormatError):
        read_gguf_header(place)
    assert time.perf_counter() - began < 1


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_mutated_headers_raise_nothing_but_our_errors(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = bytearray(data.draw(st.sampled_from(_SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(4, len(raw) - 1))
        width = data.draw(st.sampled_from([1, 4, 8]))
        raw[at : at + width] = data.draw(st.binary(min_size=width, max_size=width))
    raw = raw[: data.draw(st.integers(8, len(raw)))]
    place = tmp_path_factory.getbasetemp() / "fuzz.gguf"
    place.write_bytes(raw)
    with contextlib.suppress(SageLLMError):
        assert read_gguf_header(place).weight_bytes <= len(raw)


def _seed() -> bytes:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    pairs = [
        text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"),
        text(b"n") + struct.pack("<II", 4, 7),
        text(b"f") + struct.pack("<Id", 12, 0.5),
        text(b"words") + struct.pack("<IIQ", 9, 8, 3) + text(b"a") + text(b"bc") + text(b""),
        text(b"nums") + struct.pack("<IIQ3H", 9, 2, 3, 1, 2, 3),
    ]
    tensor = text(b"w") + struct.pack("<I2QIQ", 2, 32, 4, 8, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    return head + bytes(-len(head) % 32) + bytes(4 * 34)


_SEEDS = [_seed()]
