"""The generator over the mock provider: the real engine, no model files."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sagellm_core import SageLLMGenerator
from sagellm_core.contract import (
    ConfigurationError,
    EmptyPromptError,
    EngineClosedError,
    InvalidRequestError,
    InvalidSamplingError,
    PromptTooLongError,
    RequestTimeoutError,
    RunnerError,
    UnknownProviderError,
)
from sagellm_core.results import TextChunk


@pytest.fixture(scope="module")
def gen() -> Iterator[SageLLMGenerator]:
    with SageLLMGenerator("mock", "any", max_tokens=16) as generator:
        yield generator


def scripted(script: dict[str, str], **options: Any) -> SageLLMGenerator:
    return SageLLMGenerator("mock", "any", provider_options={"script": script, **options})


def test_the_result_has_everything_that_is_promised(gen: SageLLMGenerator) -> None:
    result = gen.execute("Hello", max_tokens=5, ignore_eos=True)
    assert result["text"] == result["generated"] != ""
    assert len(result["token_ids"]) == result["usage"]["completion_tokens"] == 5
    usage = result["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5
    assert result["finish_reason"] == "length"
    provider = result["provider"]
    assert (provider["name"], provider["dist"]) == ("mock", "sagellm-mock")
    assert {"version", "device", "why", "dtype", "quantization", "notes"} <= set(provider)
    timings = result["timings"]
    assert 0 <= timings["ttft_s"] <= timings["total_s"]
    assert timings["tpot_s"] >= 0
    assert timings["load_s"] > 0


def test_max_tokens_down_to_one(gen: SageLLMGenerator) -> None:
    assert len(gen.execute("Hello", max_tokens=1)["token_ids"]) == 1


@pytest.mark.parametrize(
    "data",
    [
        "Why?",
        ["Why?"],
        {"prompt": "Why?"},
        {"query": "Why?"},
        {"messages": [{"role": "user", "content": "Why?"}]},
        [{"role": "user", "content": "Why?"}],
        [{"id": 1}, "Why?"],
        ["question", "Why?"],
        ["question", {"prompt": "Why?"}],
        ["question", [{"role": "user", "content": "Why?"}]],
        ["question", "Why?", {"seed": 3}],
    ],
)
def test_each_input_form_asks_the_same_question(data: Any) -> None:
    with scripted({"Why?": "Because."}) as generator:
        assert generator.execute(data)["text"] == "Because."


def test_the_context_comes_back(gen: SageLLMGenerator) -> None:
    assert gen.execute({"prompt": "Hi", "doc": 7})["context"] == {"doc": 7}
    assert gen.execute(["question", "Hi"])["context"] == "question"
    assert "context" not in gen.execute("Hi")


def test_options_of_input_and_call(gen: SageLLMGenerator) -> None:
    data = {"prompt": "Hi", "options": {"max_tokens": 2, "ignore_eos": True}}
    assert len(gen.execute(data)["token_ids"]) == 2
    assert len(gen.execute(data, max_tokens=3)["token_ids"]) == 3
    assert len(gen.execute([None, "Hi", {"max_tokens": 1}])["token_ids"]) == 1


def test_the_same_seed_gives_the_same_answer(gen: SageLLMGenerator) -> None:
    first, again, other = (gen.execute("Hello", seed=seed)["token_ids"] for seed in (1, 1, 2))
    assert first == again != other


def test_temperature_zero_needs_no_seed(gen: SageLLMGenerator) -> None:
    assert gen.execute("Hi", temperature=0)["text"] == gen.execute("Hi", temperature=0)["text"]


def test_a_stop_string_ends_the_text_before_it() -> None:
    with scripted({"Count": "one two three four"}) as generator:
        result = generator.execute("Count", stop=" three")
    assert result["text"] == "one two"
    assert (result["finish_reason"], result["stop_reason"]) == ("stop", " three")


def test_streamed_pieces_add_up_to_the_result(gen: SageLLMGenerator) -> None:
    pieces = list(gen.stream("Tell me", seed=5))
    assert all(isinstance(piece, TextChunk) for piece in pieces)
    last = pieces[-1]
    assert last.result is not None
    assert "".join(pieces) == last.result["text"] == gen.execute("Tell me", seed=5)["text"]
    assert [token for piece in pieces for token in piece.token_ids] == last.result["token_ids"]
    assert last.finish_reason == last.result["finish_reason"]
    assert all(piece.result is None and piece.finish_reason is None for piece in pieces[:-1])


def test_a_chunk_survives_pickling() -> None:
    chunk = pickle.loads(pickle.dumps(TextChunk("a", token_ids=[1], finish_reason="stop")))
    assert (chunk, chunk.token_ids, chunk.finish_reason) == ("a", (1,), "stop")


def test_streaming_checks_its_input_at_once(gen: SageLLMGenerator) -> None:
    with pytest.raises(EmptyPromptError):
        gen.stream("")


def test_abandoning_a_stream_frees_what_it_held() -> None:
    with SageLLMGenerator("mock", "any", provider_options={"tpot_s": 0.01}) as generator:
        generator.load()
        assert generator._session is not None
        engine = generator._session.engine
        before = engine.stats().blocks_free
        stream = generator.stream("Hello", ignore_eos=True, max_tokens=500)
        next(stream)
        assert engine.stats().running == 1
        stream.close()  # type: ignore[attr-defined]
        deadline = time.monotonic() + 5
        while engine.stats().running and time.monotonic() < deadline:
            time.sleep(0.005)
        assert engine.stats().blocks_free == before


def test_streaming_async_in_two_event_loops_at_once(gen: SageLLMGenerator) -> None:
    async def collect(seed: int) -> str:
        return "".join([piece async for piece in gen.stream_async("Hello", seed=seed)])

    texts: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda seed=seed: texts.update({seed: asyncio.run(collect(seed))}))
        for seed in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert texts == {seed: gen.execute("Hello", seed=seed)["text"] for seed in (1, 2)}


def test_an_error_while_streaming_is_raised_not_swallowed() -> None:
    with SageLLMGenerator("mock", "any", provider_options={"fail_at_step": 3}) as generator:
        stream = generator.stream("Hello", ignore_eos=True)
        with pytest.raises(RunnerError):
            list(stream)


def test_a_batch_keeps_its_order() -> None:
    script = {f"q{n}": f"answer {n}" for n in range(40)}
    with scripted(script) as generator:
        results = generator.execute_batch([{"prompt": f"q{n}", "n": n} for n in range(40)])
    assert [result["text"] for result in results] == list(script.values())
    assert [result["context"]["n"] for result in results] == list(range(40))


def test_a_batch_checks_every_input_before_it_starts(gen: SageLLMGenerator) -> None:
    with pytest.raises(EmptyPromptError, match="Input 1"):
        gen.execute_batch(["fine", "", "fine"])
    with pytest.raises(InvalidRequestError):
        gen.execute_batch("one string")
    with pytest.raises(InvalidRequestError, match="no_such_option"):
        gen.execute_batch([], no_such_option=1)
    with pytest.raises(InvalidRequestError, match="timeout"):
        gen.execute_batch([{"prompt": "Hi", "options": {"timeout": 1}}])
    assert gen.execute_batch([]) == []


def test_a_batch_can_hold_its_errors(gen: SageLLMGenerator) -> None:
    long = "word " * 9000
    good, empty, too_long = gen.execute_batch(["Hi", "", long], return_errors=True)
    assert good["text"]
    assert empty["error"]["code"] == "empty_prompt"
    assert too_long["error"]["code"] == "prompt_too_long"
    with pytest.raises(PromptTooLongError):
        gen.execute_batch(["Hi", long])


def test_a_timeout_is_enforced() -> None:
    with SageLLMGenerator("mock", "any", provider_options={"tpot_s": 0.05}) as generator:
        generator.load()
        began = time.monotonic()
        with pytest.raises(RequestTimeoutError, match=r"0\.3"):
            generator.execute("Hello", timeout=0.3, ignore_eos=True)
        assert time.monotonic() - began < 3
        assert generator.execute("Hello", max_tokens=1)["text"] is not None


def test_the_constructor_is_cheap_and_the_instance_pickles() -> None:
    generator = SageLLMGenerator({"backend_type": "nowhere", "model_path": "nothing"})
    copy = pickle.loads(pickle.dumps(generator))
    assert copy.config == generator.config
    with pytest.raises(UnknownProviderError):
        copy.execute("Hi")


def test_configuration_fields_are_attributes(gen: SageLLMGenerator) -> None:
    assert (gen.backend_type, gen.model_path, gen.max_tokens) == ("mock", "any", 16)
    with pytest.raises(AttributeError):
        _ = gen.no_such_thing


def test_a_loaded_instance_pickles_without_its_model(gen: SageLLMGenerator) -> None:
    gen.load()
    with pickle.loads(pickle.dumps(gen)) as copy:
        assert copy.execute("Hi", seed=1)["text"] == gen.execute("Hi", seed=1)["text"]


def test_after_shutdown_there_is_a_clear_error() -> None:
    generator = SageLLMGenerator("mock", "any")
    generator.execute("Hi", max_tokens=1)
    generator.shutdown()
    generator.shutdown()
    with pytest.raises(EngineClosedError):
        generator.execute("Hi")


def test_many_threads_load_once_and_all_get_answers() -> None:
    with scripted({f"q{n}": f"a{n}" for n in range(8)}) as generator:
        answers: dict[int, str] = {}

        def ask(number: int) -> None:
            answers[number] = generator.execute(f"q{number}")["text"]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert answers == {number: f"a{number}" for number in range(8)}


@pytest.mark.parametrize("value", [0, -1, 1e9, 10**9, True, "5"])
def test_an_impossible_max_tokens(gen: SageLLMGenerator, value: Any) -> None:
    with pytest.raises(InvalidSamplingError) as caught:
        gen.execute("Hi", max_tokens=value)
    assert caught.value.hint
    # Nothing was left behind by the refusal.
    assert gen.execute("Hi", max_tokens=1)["finish_reason"] in ("length", "stop")


def test_max_tokens_beyond_what_the_prompt_leaves_ends_with_the_context() -> None:
    options = {"context_length": 64}
    with SageLLMGenerator("mock", "any", provider_options=options) as generator:
        assert generator.context_length == 64
        result = generator.execute("Hi", max_tokens=64, ignore_eos=True)
    assert result["finish_reason"] == "length"
    assert result["usage"]["total_tokens"] == 64


def test_the_configured_limit_is_a_ceiling() -> None:
    options = {"context_length": 64}
    for limits in ({"max_tokens": 2048}, {"default_options": {"max_new_tokens": 2048}}):
        with SageLLMGenerator("mock", "any", provider_options=options, **limits) as generator:
            result = generator.execute("Hi", ignore_eos=True)
            assert result["usage"]["total_tokens"] == 64
            with pytest.raises(InvalidSamplingError, match="64"):
                generator.execute("Hi", max_tokens=2048)


def test_a_prompt_longer_than_the_context_says_the_numbers() -> None:
    options = {"context_length": 64}
    with (
        SageLLMGenerator("mock", "any", provider_options=options) as generator,
        pytest.raises(PromptTooLongError, match="64"),
    ):
        generator.execute("word " * 200)


def test_prompt_formats(gen: SageLLMGenerator) -> None:
    chat = gen.execute("Hi", prompt_format="chat", max_tokens=1)["usage"]["prompt_tokens"]
    auto = gen.execute("Hi", max_tokens=1)["usage"]["prompt_tokens"]
    raw = gen.execute("Hi", prompt_format="raw", max_tokens=1)["usage"]["prompt_tokens"]
    assert raw < chat == auto
    with pytest.raises(InvalidRequestError):
        gen.execute([{"role": "user", "content": "Hi"}], prompt_format="raw")


@pytest.mark.parametrize("keeps", [True, False])
def test_a_beginning_is_kept_unless_told_otherwise(keeps: bool) -> None:
    with SageLLMGenerator("mock", "any", prefix_cache=keeps, max_tokens=4) as generator:
        first, second = (generator.execute("the same " * 40) for _ in range(2))
        assert first["usage"]["cached_tokens"] == 0
        assert bool(second["usage"]["cached_tokens"]) is keeps


@pytest.mark.parametrize("value", [1, "yes", None])
def test_prefix_cache_is_true_or_false(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="prefix_cache"):
        SageLLMGenerator("mock", "any", prefix_cache=value)


def test_token_ids_go_in_as_they_are(gen: SageLLMGenerator) -> None:
    result = gen.execute({"prompt_token_ids": [72, 105]}, max_tokens=1)
    assert result["usage"]["prompt_tokens"] == 2


def test_a_system_prompt_is_put_before_the_conversation() -> None:
    with SageLLMGenerator("mock", "any", system_prompt="Be kind.") as generator:
        with_system = generator.execute("Hi", max_tokens=1)["usage"]["prompt_tokens"]
        kept = generator.execute(
            [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
            max_tokens=1,
        )
    assert with_system == kept["usage"]["prompt_tokens"]


def test_log_probabilities_when_asked_for(gen: SageLLMGenerator) -> None:
    result = gen.execute("Hi", max_tokens=3, logprobs=2, ignore_eos=True)
    assert [entry["token_id"] for entry in result["logprobs"]] == result["token_ids"]
    assert all(entry["logprob"] <= 0 and len(entry["top"]) == 2 for entry in result["logprobs"])
    assert "logprobs" not in gen.execute("Hi", max_tokens=1)


def test_an_unknown_provider_option_and_an_unsupported_quantisation() -> None:
    with SageLLMGenerator("mock", "any", provider_options={"ttf_s": 1}) as generator:
        with pytest.raises(ConfigurationError, match="ttf_s") as caught:
            generator.execute("Hi")
        assert "ttft_s" in caught.value.hint


def test_a_context_longer_than_the_models_is_refused() -> None:
    with (
        SageLLMGenerator("mock", "any", max_model_len=10**6) as generator,
        pytest.raises(ConfigurationError, match="1000000"),
    ):
        generator.execute("Hi")


def test_help_shows_the_real_signature() -> None:
    parameters = inspect.signature(SageLLMGenerator).parameters
    assert list(parameters)[:2] == ["backend_type", "model_path"]
    assert parameters["temperature"].default == 0.7


def test_a_generator_left_alone_does_not_keep_the_interpreter(tmp_path: Any) -> None:
    import subprocess
    import sys

    code = (
        "from sagellm_core import SageLLMGenerator\n"
        "gen = SageLLMGenerator('mock', 'any')\n"
        "print(gen.execute('Hi', max_tokens=1)['finish_reason'])\n"
        "stream = gen.stream('Hi', ignore_eos=True); next(stream)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_failed_load_is_tried_again(tmp_path: Any) -> None:
    script = tmp_path / "answers.yaml"
    with SageLLMGenerator("mock", "any", provider_options={"script": str(script)}) as generator:
        with pytest.raises(ConfigurationError):
            generator.execute("Hi")
        script.write_text("Hi: Hello there.\n")
        assert generator.execute("Hi")["text"] == "Hello there."


def test_cancelling_a_task_cancels_the_request() -> None:
    with SageLLMGenerator("mock", "any", provider_options={"tpot_s": 0.01}) as generator:
        generator.load()
        assert generator._session is not None
        engine = generator._session.engine
        before = engine.stats().blocks_free

        async def run() -> None:
            async def consume() -> None:
                async for _ in generator.stream_async("Hello", ignore_eos=True):
                    pass

            task = asyncio.create_task(consume())
            await asyncio.sleep(0.1)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        asyncio.run(run())
        deadline = time.monotonic() + 5
        while engine.stats().running and time.monotonic() < deadline:
            time.sleep(0.005)
        assert engine.stats().running == 0
        assert engine.stats().blocks_free == before


def test_a_recording_generator_gives_errors_as_results() -> None:
    with SageLLMGenerator("mock", "any", on_error="record", max_tokens=4) as generator:
        record = generator.execute([{"id": 7}, {"prompt": "Hi", "options": {"max_tokens": 0}}])
        batch = generator.execute_batch(["Hi", ""])
        with pytest.raises(EmptyPromptError):
            generator.execute_batch(["Hi", ""], return_errors=False)
    assert (record["text"], record["finish_reason"]) == ("", "error")
    assert (record["error"]["code"], record["context"]) == ("invalid_sampling", {"id": 7})
    assert record["input"][1]["prompt"] == "Hi"
    assert "error" not in batch[0]
    assert batch[1]["error"]["code"] == "empty_prompt"
