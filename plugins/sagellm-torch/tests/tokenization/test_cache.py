"""Converted tokenizers on disk."""

from __future__ import annotations

import logging
import os
import signal

import pytest
from sagellm_torch.tokenization import load_tokenizer
from sagellm_torch.tokenization.cache import TokenizerCache

TEXT = "<|im_start|>they don't, 2024\n\n日本"


@pytest.fixture
def model(tmp_path, write_byte_level, describe):
    return describe(write_byte_level(tmp_path / "m.gguf", pre="qwen2"))


def files(cache):
    return sorted((cache / "tokenizers").iterdir())


def test_the_second_start_reads_what_the_first_wrote(model, tmp_path, byte_level):
    cache = tmp_path / "cache"
    first = load_tokenizer(model, cache)
    (kept,) = files(cache)
    second = load_tokenizer(model, cache)
    assert files(cache) == [kept]
    assert second.encode(TEXT) == first.encode(TEXT)
    assert second.decode(first.encode(TEXT)) == first.decode(first.encode(TEXT))
    assert second.vocab_size == first.vocab_size

    # A file that was tampered with shows that it is what is read.
    marked = byte_level()
    marked.add_special_tokens(["<tampered>"])
    TokenizerCache(cache).save(kept.stem, marked)
    assert load_tokenizer(model, cache).encode("<tampered>") == [first.vocab_size]


def test_another_vocabulary_has_another_file(model, tmp_path, write_byte_level, describe):
    cache = tmp_path / "cache"
    load_tokenizer(model, cache)
    other = write_byte_level(tmp_path / "o.gguf", pre="llama-bpe")
    load_tokenizer(describe(other), cache)
    assert len(files(cache)) == 2


def test_the_same_vocabulary_elsewhere_shares_the_file(model, tmp_path, describe):
    cache = tmp_path / "cache"
    load_tokenizer(model, cache)
    moved = tmp_path / "moved.gguf"
    moved.write_bytes(model.path.read_bytes())
    os.utime(moved, (1, 1))
    load_tokenizer(describe(moved), cache)
    assert len(files(cache)) == 1


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xfe", None])
def test_a_damaged_file_is_made_again(damage, model, tmp_path, caplog):
    cache = tmp_path / "cache"
    expected = load_tokenizer(model, cache).encode(TEXT)
    (kept,) = files(cache)
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with caplog.at_level(logging.WARNING, "sagellm.tokenization"):
        assert load_tokenizer(model, cache).encode(TEXT) == expected
    assert len(caplog.records) == 1
    assert kept.read_bytes() == whole


@pytest.mark.parametrize(
    ("was", "becomes"), [('"f":', '"~f":'), ('"f":', '"f": 10, "ff":'), ("\n", "\n\n")]
)
def test_what_still_reads_as_a_pipeline_and_was_changed_is_made_again(
    was, becomes, model, tmp_path, caplog
):
    cache = tmp_path / "cache"
    expected = load_tokenizer(model, cache).encode(TEXT)
    (kept,) = files(cache)
    whole = kept.read_text(encoding="utf-8")
    assert was in whole
    kept.write_text(whole.replace(was, becomes, 1), encoding="utf-8")
    assert load_tokenizer(model, cache).encode(TEXT) == expected
    assert "damaged" in caplog.text
    assert kept.read_text(encoding="utf-8") == whole


def test_a_file_of_another_pipeline_is_not_taken(model, tmp_path, byte_level):
    cache = TokenizerCache(tmp_path / "cache")
    cache.save("one", byte_level())
    (tmp_path / "cache/tokenizers/one.json").rename(tmp_path / "cache/tokenizers/two.json")
    assert cache.load("two") is None


@pytest.mark.parametrize("kind", ["a file", "below a file", "read-only"])
def test_a_directory_that_cannot_be_written(kind, model, tmp_path, caplog):
    cache = tmp_path / "cache"
    if kind == "read-only":
        if os.geteuid() == 0:
            pytest.skip("root writes everywhere")
        cache.mkdir(mode=0o500)
    else:
        cache.write_text("not a directory")
        cache = cache / "deeper" if kind == "below a file" else cache
    with caplog.at_level(logging.WARNING, "sagellm.tokenization"):
        tokenizer = load_tokenizer(model, cache)
    assert tokenizer.decode(tokenizer.encode("fox")) == "fox"
    (said,) = [record.getMessage() for record in caplog.records]
    assert str(cache) in said
    assert "SAGELLM_CACHE_DIR" in said


def test_a_disk_that_is_full(model, tmp_path, caplog):
    resource = pytest.importorskip("resource")
    # A limit on the size of files stands in for a disk without room: the write fails half-way.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with caplog.at_level(logging.WARNING, "sagellm.tokenization"):
            tokenizer = load_tokenizer(model, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "not kept" in caplog.text
    assert files(tmp_path / "cache") == []
    assert tokenizer.decode(tokenizer.encode("fox")) == "fox"
