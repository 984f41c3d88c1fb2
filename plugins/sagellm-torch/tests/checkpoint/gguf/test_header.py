"""Damaged and foreign files: a typed error, and never more memory than the file has bytes."""

from __future__ import annotations

import struct

import gguf
import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sagellm_torch.checkpoint import open_checkpoint
from sagellm_torch.checkpoint.gguf.header import read_header

from sagellm_core.contract import ModelFormatError, SageLLMError, UnsupportedModelError


@pytest.fixture(scope="session")
def small(tmp_path_factory, make_model, write_gguf):
    """The bytes of a small file that has every kind of field."""

    def metadata(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(["a", "b", "é", "<|im_end|>"])
        writer.add_token_types([1, 1, 1, 3])
        writer.add_token_scores([0.0, -1.0, -2.0, -3.0])
        writer.add_add_bos_token(True)
        writer.add_chat_template("{{ messages }}")

    model = make_model("llama", num_hidden_layers=1)
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    factors = numpy.ones(8, numpy.float32)
    return write_gguf(
        path, model, "llama", metadata=metadata, tensors={"rope_freqs.weight": factors}
    ).read_bytes()


def write(path, data):
    path.write_bytes(data)
    return path


def load_everything(path, describe_gguf):
    checkpoint = open_checkpoint(describe_gguf(path))
    try:
        for name in checkpoint.names():
            checkpoint.tensor(name, torch.float32)
    finally:
        checkpoint.close()


def test_metadata_is_typed(small, tmp_path):
    header = read_header(write(tmp_path / "m.gguf", small))
    metadata = header.metadata
    assert metadata.strings("tokenizer.ggml.tokens") == ["a", "b", "é", "<|im_end|>"]
    assert metadata.integers("tokenizer.ggml.token_type").tolist() == [1, 1, 1, 3]
    assert metadata.floats("tokenizer.ggml.scores").tolist() == [0, -1, -2, -3]
    assert metadata.flag("tokenizer.ggml.add_bos_token", False) is True
    assert metadata.number("llama.attention.layer_norm_rms_epsilon") == 1e-06
    assert metadata.integer("absent", None) is None
    with pytest.raises(ModelFormatError, match="an integer was expected"):
        metadata.integer("tokenizer.ggml.model")
    with pytest.raises(ModelFormatError, match="does not have absent"):
        metadata.string("absent")


def test_the_end_of_a_turn_is_found_by_name(small, describe_gguf, tmp_path):
    path = write(tmp_path / "m.gguf", small)
    assert open_checkpoint(describe_gguf(path)).generation_config["eos_token_id"] == [2, 3]


@pytest.mark.parametrize(
    ("start", "replacement", "message"),
    [
        (0, b"GGML", "not a GGUF file"),
        (0, b"PK\x03\x04", "not a GGUF file"),
        (4, struct.pack("<I", 1), "version 1"),
        (4, struct.pack("<I", 4), "version 4"),
        (4, struct.pack(">I", 3), "big-endian"),
        (8, struct.pack("<Q", 2**60), "claims"),
        (16, struct.pack("<Q", 2**63), "claims"),
    ],
)
def test_a_foreign_start(start, replacement, message, small, tmp_path):
    data = small[:start] + replacement + small[start + len(replacement) :]
    with pytest.raises(ModelFormatError, match=message):
        read_header(write(tmp_path / "m.gguf", data))


def test_no_file_and_no_bytes(tmp_path):
    with pytest.raises(ModelFormatError, match="could not be read"):
        read_header(tmp_path / "absent.gguf")
    with pytest.raises(ModelFormatError, match="0 bytes"):
        read_header(write(tmp_path / "empty.gguf", b""))
    with pytest.raises(ModelFormatError, match="could not be read"):
        read_header(tmp_path)


def test_cut_anywhere(small, describe_gguf, tmp_path):
    path = tmp_path / "m.gguf"
    # The writer pads the end; without the padding the file is still whole.
    for length in [*range(0, 4000, 37), *range(4000, len(small) - 64, 997)]:
        with pytest.raises(ModelFormatError):
            load_everything(write(path, small[:length]), describe_gguf)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_bytes(small, describe_gguf, tmp_path, data):
    broken = bytearray(small)
    header_end = small.index(b"token_embd.weight") + 2000
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, header_end))
        value = data.draw(st.binary(min_size=1, max_size=9))
        broken[at : at + len(value)] = value
    path = write(tmp_path / "m.gguf", bytes(broken))
    try:
        load_everything(path, describe_gguf)
    except SageLLMError as error:
        assert error.hint  # noqa: PT017 - whether it raises depends on the bytes


@pytest.mark.parametrize("alignment", [0, 3, 2**30])
def test_a_bad_alignment(alignment, make_model, write_gguf, tmp_path):
    path = write_gguf(
        tmp_path / "m.gguf",
        make_model("gemma"),
        "gemma",
        metadata=lambda writer: writer.add_uint32("general.alignment", alignment),
    )
    with pytest.raises(ModelFormatError, match=r"general\.alignment"):
        read_header(path)


def test_an_unknown_tensor_type_is_named(small, tmp_path):
    at = small.index(b"token_embd.weight") + len("token_embd.weight") + 4 + 16
    assert small[at : at + 4] == struct.pack("<I", 0)
    data = small[:at] + struct.pack("<I", 77) + small[at + 4 :]
    with pytest.raises(UnsupportedModelError, match=r"token_embd\.weight .* ggml type 77"):
        read_header(write(tmp_path / "m.gguf", data))


def test_one_part_of_several(make_model, write_gguf, tmp_path):
    path = write_gguf(
        tmp_path / "m.gguf",
        make_model("gemma"),
        "gemma",
        metadata=lambda writer: writer.add_uint16("split.count", 3),
    )
    with pytest.raises(UnsupportedModelError, match="one of 3 parts"):
        read_header(path)


def test_a_key_or_tensor_that_comes_twice(tmp_path):
    def string(text):
        return struct.pack("<Q", len(text)) + text

    pair = string(b"k") + struct.pack("<II", 4, 1)
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 2)
    with pytest.raises(ModelFormatError, match="'k' twice"):
        read_header(write(tmp_path / "m.gguf", head + pair + pair))

    entry = string(b"t") + struct.pack("<IQIQ", 1, 4, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 2, 0)
    with pytest.raises(ModelFormatError, match="tensor t twice"):
        read_header(write(tmp_path / "m.gguf", head + entry + entry + bytes(64)))


def test_version_2(small, describe_gguf, tmp_path):
    data = small[:4] + struct.pack("<I", 2) + small[8:]
    load_everything(write(tmp_path / "m.gguf", data), describe_gguf)


def test_the_library_reads_the_same(small, tmp_path):
    path = write(tmp_path / "m.gguf", small)
    header = read_header(path)
    reader = gguf.GGUFReader(path)
    assert [each.name for each in reader.tensors] == list(header.tensors)
    for each in reader.tensors:
        entry = header.tensors[each.name]
        assert (entry.offset, entry.size) == (each.data_offset, each.n_bytes)
        assert entry.shape == tuple(reversed(each.shape.tolist()))
