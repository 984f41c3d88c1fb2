from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core import EmbeddingEngine
from sagellm_core.pipeline import Chunk, DenseIndex, LexicalIndex, Passage, fuse, open_index
from sagellm_core.pipeline.lexical_index import words_of
from sagellm_core.pipeline.programs.multi_strategy import choose_strategy

CHUNKS = [
    Chunk("the cat sat on the mat", "a"),
    Chunk("the dog chased the cat", "b"),
    Chunk("error E_1042: pump blocked", "c"),
    Chunk("保修三年", "d"),
]


def test_words_that_few_chunks_have_count_more() -> None:
    index = LexicalIndex(CHUNKS)
    assert [p.chunk.source for p in index.search("cat dog")] == ["b", "a"]
    assert [p.chunk.source for p in index.search("E_1042")] == ["c"]
    assert [p.chunk.source for p in index.search("保修")] == ["d"]
    assert index.search("zebra") == []
    assert len(index.search("the", top_k=1)) == 1


def test_a_score_is_that_of_the_formula() -> None:
    [found] = LexicalIndex(CHUNKS).search("mat")
    lengths = [len(words_of(chunk.text)) for chunk in CHUNKS]
    damping = 1.2 * (0.25 + 0.75 * lengths[0] / (sum(lengths) / 4))
    expected = math.log(1 + (4 - 1 + 0.5) / 1.5) * 2.2 / (1 + damping)
    assert found.score == pytest.approx(expected)


@given(st.lists(st.text(max_size=20), max_size=6), st.text(max_size=20))
def test_searching_words_never_fails(texts: list[str], question: str) -> None:
    chunks = [Chunk(text, str(number)) for number, text in enumerate(texts)]
    found = LexicalIndex(chunks).search(question, 3)
    assert len(found) <= 3
    assert all(passage.score > 0 for passage in found)


def test_fusion_prefers_what_both_rankings_have() -> None:
    a, b, c = (Chunk(name, name) for name in "abc")
    first = [Passage(a, 9.0), Passage(b, 8.0)]
    second = [Passage(c, 0.2), Passage(b, 0.1)]
    assert [p.chunk for p in fuse([(1.0, first), (1.0, second)])] == [b, a, c]
    assert [p.chunk for p in fuse([(1.0, first), (3.0, second)], top_k=1)] == [b]
    assert [p.chunk for p in fuse([(1.0, first), (0.0, second)], top_k=2)] == [a, b]
    assert fuse([(1.0, first)])[0].score == pytest.approx(1 / 61)


def test_dense_search_is_cosine() -> None:
    with EmbeddingEngine(backend_type="mock", model_path="any") as embedder:
        index = DenseIndex.build(CHUNKS, embedder)
        found = index.search("the dog chased the cat", 4)
        question, texts = (
            embedder.embed(["the dog chased the cat"]),
            embedder.embed([chunk.text for chunk in CHUNKS]),
        )
    assert found[0].chunk is CHUNKS[1]
    assert found[0].score == pytest.approx(1.0, abs=1e-5)
    expected = np.sort(texts @ question[0])[::-1]
    np.testing.assert_allclose([p.score for p in found], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("question", "strategy"),
    [
        ("warranty", "words"),
        ("kettle warranty", "words"),
        ("How long may the kettle be returned?", "meaning"),
        ("What does E-1042 mean?", "both"),
        ("where is open_index defined", "both"),
        ('who wrote "the quick brown fox" first', "both"),
        ("水壶的保修期有多长?", "meaning"),
    ],
)
def test_the_strategy_fits_the_question(question: str, strategy: str) -> None:
    assert choose_strategy(question) == strategy


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.txt").write_text("some text")
    return {
        "documents": str(tmp_path / "documents"),
        "index": str(tmp_path / "kept" / "a.npz"),
        "chunk_size": 100,
        "chunk_overlap": 0,
        "normalize": True,
        "embedding": {"backend_type": "mock", "model_path": "any", "batch_size": 4},
    }


def test_an_index_is_kept_while_it_fits(settings: dict[str, object]) -> None:
    path = Path(str(settings["index"]))
    with EmbeddingEngine(settings["embedding"]) as embedder:
        built = open_index(settings, embedder)
        written = path.stat().st_mtime_ns
        again = open_index(settings, embedder)
        assert path.stat().st_mtime_ns == written
        assert again.chunks == built.chunks
        np.testing.assert_array_equal(again.vectors, built.vectors)
        open_index(settings | {"chunk_size": 4}, embedder)
        assert path.stat().st_mtime_ns != written
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00", b"text"])
def test_a_foreign_index_is_built_anew(
    settings: dict[str, object], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(str(settings["index"]))
    path.parent.mkdir()
    path.write_bytes(content)
    with EmbeddingEngine(settings["embedding"]) as embedder:
        assert len(open_index(settings, embedder).chunks) == 1
        assert "is built anew" in caplog.text
        caplog.clear()
        open_index(settings, embedder)
        assert "anew" not in caplog.text


def test_without_a_place_nothing_is_kept(settings: dict[str, object], tmp_path: Path) -> None:
    with EmbeddingEngine(settings["embedding"]) as embedder:
        open_index(settings | {"index": None}, embedder)
    assert not list(tmp_path.rglob("*.npz"))
