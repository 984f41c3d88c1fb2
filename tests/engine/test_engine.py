"""One request's life: how it begins, what it says, and how it ends."""

from __future__ import annotations

import dataclasses
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from typing import Any

import pytest

from sagellm_core.contract import (
    ConfigurationError,
    EmptyPromptError,
    Engine,
    EngineClosedError,
    EngineConfig,
    FinishReason,
    InvalidRequestError,
    InvalidSamplingError,
    OverloadedError,
    PromptTooLongError,
    RequestTimeoutError,
    TokenEvent,
)
from sagellm_core.engine import LLMEngine


def script(runner: Any, text: str) -> None:
    """Have the runner answer with ``text`` and the end."""
    reply = [*text.encode(), 256]
    runner.answer = lambda tokens, prompt_len, sampling: reply[len(tokens) - prompt_len]


def test_it_is_an_engine(harness: Any) -> None:
    assert isinstance(harness().engine, Engine)


def test_tokens_and_text_come_as_they_are_sampled(harness: Any) -> None:
    one = harness()
    script(one.runner, "Grüße 😀!")
    _, events = one.submit()
    last = events.wait()
    assert events.text == "Grüße 😀!"
    assert events.token_ids == [*"Grüße 😀!".encode(), 256]
    assert all(len(event.token_ids) == 1 for event in events.all)
    assert (last.finish_reason, last.stop_reason, last.error) == (FinishReason.STOP, 256, None)
    assert [event.last for event in events.all] == [False] * (len(events.all) - 1) + [True]


def test_usage_and_timings_are_on_the_last_event(harness: Any) -> None:
    one = harness()
    _, events = one.submit("hello", max_tokens=6, ignore_eos=True)
    last = events.wait()
    assert last.usage is not None
    assert last.timings is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (5, 6)
    assert last.usage.total_tokens == 11
    timings = last.timings
    assert timings.ttft_s is not None
    assert timings.tpot_s is not None
    assert 0 <= timings.queue_s <= timings.ttft_s <= timings.total_s
    assert timings.ttft_s + 5 * timings.tpot_s <= timings.total_s
    assert all(event.usage is None for event in events.all[:-1])


def test_one_token_has_no_time_per_output_token(harness: Any) -> None:
    one = harness()
    _, events = one.submit(max_tokens=1)
    last = events.wait()
    assert len(events.token_ids) == 1
    assert last.timings is not None
    assert last.timings.ttft_s is not None
    assert last.timings.tpot_s is None


def test_the_context_ends_a_request_that_asks_for_more(harness: Any, fakes: Any) -> None:
    one = harness(model=fakes.Model(max_model_len=20))
    _, events = one.submit("x" * 15, max_tokens=18, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH
    assert len(events.token_ids) == 5


def test_without_max_tokens_the_context_is_filled(harness: Any, fakes: Any) -> None:
    one = harness(model=fakes.Model(max_model_len=20))
    _, events = one.submit("x" * 15, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH
    assert len(events.token_ids) == 5


def test_ignore_eos_goes_on(harness: Any) -> None:
    one = harness()
    one.runner.answer = lambda tokens, prompt_len, sampling: 256
    _, events = one.submit(max_tokens=4, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH
    assert events.token_ids == [256] * 4
    assert events.text == ""


def test_an_end_that_has_a_text_is_not_part_of_the_text(harness: Any, fakes: Any) -> None:
    class Telling(fakes.Tokenizer):  # type: ignore[misc]
        def decode(self, token_ids: Any, *, skip_special_tokens: bool = True) -> str:
            return "".join("</s>" if token == 256 else chr(token) for token in token_ids)

    one = harness(model=fakes.Model(Telling()))
    script(one.runner, "abc")
    _, events = one.submit()
    events.wait()
    assert events.text == "abc"


def test_a_stop_token_ends_after_itself(harness: Any) -> None:
    one = harness()
    script(one.runner, "abcdef")
    _, events = one.submit(stop_token_ids=[ord("c")])
    last = events.wait()
    assert (last.finish_reason, last.stop_reason) == (FinishReason.STOP, ord("c"))
    assert events.text == "abc"


def test_a_stop_string_is_cut_off_and_its_tokens_are_kept(harness: Any) -> None:
    one = harness()
    script(one.runner, "one two three")
    _, events = one.submit(stop=["o th", "two t"])
    last = events.wait()
    assert (last.finish_reason, last.stop_reason) == (FinishReason.STOP, "two t")
    assert events.text == "one "
    assert bytes(events.token_ids) == b"one two t"


def test_the_beginning_of_a_stop_string_comes_at_the_end(harness: Any) -> None:
    one = harness()
    script(one.runner, "one tw")
    _, events = one.submit(stop=["two"])
    assert events.wait().stop_reason == 256
    assert events.text == "one tw"


def test_a_stop_string_after_half_a_character(harness: Any) -> None:
    one = harness()
    script(one.runner, "a😀stop")
    _, events = one.submit(stop="stop")
    assert events.wait().stop_reason == "stop"
    assert events.text == "a😀"


@pytest.mark.parametrize("count", [2, 3, 4])
def test_an_emoji_cut_by_max_tokens_leaves_no_broken_character(harness: Any, count: int) -> None:
    one = harness()
    script(one.runner, "a😀b")
    _, events = one.submit(max_tokens=count)
    assert events.wait().finish_reason is FinishReason.LENGTH
    assert events.text == "a"


def test_a_seed_is_drawn_where_none_is_given(harness: Any) -> None:
    one = harness()
    for _ in range(2):
        one.submit(temperature=1.0, max_tokens=1)[1].wait()
    one.submit(temperature=1.0, seed=7, max_tokens=1)[1].wait()
    seeds = [call[1][0].begin.sampling.seed for call in one.runner.calls]
    assert seeds[2] == 7
    assert seeds[0] != seeds[1]
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_logprobs_come_with_their_tokens(harness: Any) -> None:
    one = harness()
    _, events = one.submit(logprobs=0, max_tokens=5, ignore_eos=True)
    _, plain = one.submit(max_tokens=5, ignore_eos=True)
    events.wait(), plain.wait()
    for event in events.all:
        assert event.logprobs is not None
        assert [entry.token_id for entry in event.logprobs] == list(event.token_ids)
    assert all(event.logprobs is None for event in plain.all)


# --- refusals ------------------------------------------------------------------------------


def test_an_empty_prompt_is_refused(harness: Any) -> None:
    with pytest.raises(EmptyPromptError):
        harness().submit("")


@pytest.mark.parametrize("length", [20, 21, 5000])
def test_a_prompt_as_long_as_the_context_is_refused_with_the_numbers(
    harness: Any, fakes: Any, length: int
) -> None:
    one = harness(model=fakes.Model(max_model_len=20))
    with pytest.raises(PromptTooLongError, match=rf"{length} tokens.*20 tokens.*256") as caught:
        one.submit("x" * length)
    assert "19" in caught.value.hint


def test_a_prompt_beyond_the_whole_cache_is_refused_with_the_numbers(harness: Any) -> None:
    one = harness(num_blocks=3, block_size=4)
    assert one.engine.max_model_len == 12
    with pytest.raises(PromptTooLongError, match=r"12 tokens.*256 tokens.*holds 12"):
        one.submit("x" * 12)
    _, events = one.submit("x" * 11, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH


def test_max_tokens_beyond_the_context_is_refused_with_the_numbers(harness: Any) -> None:
    with pytest.raises(
        InvalidSamplingError,
        match="max_tokens=1000000000 is more than the context of 256 tokens",
    ):
        harness().submit(max_tokens=1_000_000_000)


@pytest.mark.parametrize("token", [258, 10**12, -1])
def test_a_token_outside_the_vocabulary_is_refused(harness: Any, token: int) -> None:
    with pytest.raises(InvalidRequestError, match=str(token)):
        harness().submit([1, token, 2])


@pytest.mark.parametrize("token", ["a", 1.5, None])
def test_a_token_that_is_no_integer_is_refused(harness: Any, token: Any) -> None:
    with pytest.raises(InvalidRequestError, match="not all integers"):
        harness().submit([1, token])


def test_a_bias_outside_the_vocabulary_is_refused(harness: Any) -> None:
    with pytest.raises(InvalidSamplingError, match="258"):
        harness().submit(logit_bias={258: 1.0})


def test_an_id_in_use_is_refused_and_free_again_afterwards(harness: Any, gate: Any) -> None:
    one = harness()
    one.runner.before = gate
    _, events = one.submit(request_id="same", max_tokens=1)
    with pytest.raises(InvalidRequestError, match="'same'"):
        one.submit(request_id="same")
    gate.open()
    events.wait()
    one.submit(request_id="same", max_tokens=1)[1].wait()


@pytest.mark.parametrize("wrong", [{"request_id": ""}, {"priority": True}, {"priority": 1.5}])
def test_wrong_fields_are_refused(harness: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        harness().submit(**wrong)


def test_a_full_queue_refuses_and_takes_requests_again_later(harness: Any, gate: Any) -> None:
    one = harness(max_slots=1, max_waiting=2)
    one.runner.before = gate
    waiting = [one.submit(max_tokens=2)[1] for _ in range(3)]
    with pytest.raises(OverloadedError, match="limit is 2") as caught:
        one.submit()
    assert caught.value.retryable
    gate.open()
    for events in waiting:
        events.wait()
    one.submit(max_tokens=1)[1].wait()


# --- without a tokenizer -------------------------------------------------------------------


def test_a_model_without_a_tokenizer_generates_ids(harness: Any, fakes: Any) -> None:
    one = harness(model=fakes.Model(fakes.NoTokenizer()))
    _, events = one.submit(max_tokens=5, ignore_eos=True)
    events.wait()
    assert events.token_ids == one.expected("hello", 5, ignore_eos=True)
    assert events.text == ""


def test_stop_strings_without_a_tokenizer_are_refused(harness: Any, fakes: Any) -> None:
    one = harness(model=fakes.Model(fakes.NoTokenizer()))
    with pytest.raises(InvalidRequestError, match="tokenizer"):
        one.submit(stop="x")


# --- cancelling ----------------------------------------------------------------------------


def cancelled_once(events: Any) -> None:
    assert events.wait().finish_reason is FinishReason.CANCELLED
    assert sum(event.last for event in events.all) == 1


def test_cancelling_in_the_queue(harness: Any, gate: Any) -> None:
    one = harness(max_slots=1)
    one.runner.before = gate
    _, first = one.submit(max_tokens=3)
    queued, events = one.submit()
    assert one.engine.cancel(queued)
    gate.open()
    cancelled_once(events)
    assert events.token_ids == []
    assert first.wait().finish_reason is not FinishReason.CANCELLED
    assert not one.engine.cancel(queued)
    one.settle()


def test_cancelling_in_the_middle_of_a_prefill(harness: Any) -> None:
    one = harness(max_prefill_tokens=8)
    cancel: list[Any] = []

    def before(name: str, rows: list[Any]) -> None:
        if rows[0].start == 16:
            cancel.append(one.engine.cancel("long"))

    one.runner.before = before
    _, events = one.submit("x" * 60, request_id="long")
    cancelled_once(events)
    assert cancel == [True]
    assert len(one.runner.calls) == 3
    one.settle()


def test_cancelling_in_decode_twice_and_from_another_thread(harness: Any) -> None:
    one = harness()
    one.runner.before = lambda name, rows: time.sleep(0.005)
    request_id, events = one.submit(ignore_eos=True)
    events.wait(count=3)
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(one.engine.cancel(request_id)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(results)
    cancelled_once(events)
    assert not one.engine.cancel(request_id)
    one.settle()


def test_cancelling_from_the_sink_ends_at_once(harness: Any, fakes: Any) -> None:
    one = harness()
    seen = fakes.Events()

    def sink(event: TokenEvent) -> None:
        seen(event)
        if len(seen.all) == 3:
            assert one.engine.cancel(event.request_id)
            assert one.engine.cancel(event.request_id)

    one.submit(sink=sink, ignore_eos=True)
    cancelled_once(seen)
    assert len(seen.token_ids) == 3
    one.settle()


def test_cancelling_what_is_unknown_is_false(harness: Any) -> None:
    assert harness().engine.cancel("nobody") is False


def test_a_cancelled_request_that_ends_in_the_same_step_is_cancelled(
    harness: Any, gate: Any
) -> None:
    one = harness()
    one.runner.before = gate
    request_id, events = one.submit(max_tokens=1)
    assert gate.reached.wait(10)
    assert one.engine.cancel(request_id)
    gate.open()
    cancelled_once(events)


def test_a_cancelled_request_whose_step_fails_is_cancelled(harness: Any) -> None:
    one = harness()

    def before(name: str, rows: list[Any]) -> None:
        one.engine.cancel("r1")
        raise ValueError("boom")

    one.runner.before = before
    cancelled_once(one.submit()[1])


def test_a_sink_that_raises_loses_its_request_and_nobody_else_does(
    harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = harness()

    def sink(event: TokenEvent) -> None:
        raise ValueError("broken sink")

    one.submit(sink=sink, ignore_eos=True)
    _, events = one.submit(max_tokens=5, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH
    one.settle()
    assert "broken sink" in caplog.text


# --- deadlines -----------------------------------------------------------------------------


def test_a_deadline_in_decode(harness: Any) -> None:
    one = harness()
    one.runner.before = lambda name, rows: time.sleep(0.01)
    _, events = one.submit(ignore_eos=True, timeout=0.1)
    last = events.wait()
    assert isinstance(last.error, RequestTimeoutError)
    assert last.finish_reason is None
    assert last.usage is not None
    assert last.usage.completion_tokens == len(events.token_ids) > 0


def test_a_deadline_in_the_queue(harness: Any) -> None:
    one = harness(max_slots=1)
    one.runner.before = lambda name, rows: time.sleep(0.01)
    first_id, first = one.submit(ignore_eos=True)
    _, events = one.submit(timeout=0.05)
    last = events.wait()
    assert isinstance(last.error, RequestTimeoutError)
    assert "in the queue" in last.error.message
    one.engine.cancel(first_id)
    first.wait()


def test_many_deadlines_of_ended_requests_are_not_kept(harness: Any) -> None:
    one = harness()
    for _ in range(200):
        one.submit(max_tokens=1, timeout=1000)[1].wait()
    assert len(one.engine._loop._deadlines._heap) <= 64


# --- the end of the engine -----------------------------------------------------------------


def test_closing_ends_every_request_with_an_error(harness: Any, gate: Any) -> None:
    one = harness(max_slots=1)
    one.runner.before = gate
    running = one.submit()[1]
    queued = one.submit()[1]
    assert gate.reached.wait(10)
    closer = threading.Thread(target=one.engine.close)
    closer.start()
    time.sleep(0.02)
    gate.open()
    closer.join(10)
    for events in (running, queued):
        assert isinstance(events.wait().error, EngineClosedError)
        assert sum(event.last for event in events.all) == 1
    one.engine.close()
    with pytest.raises(EngineClosedError):
        one.submit()
    assert (one.runner.closed, one.model.closed) == (1, 1)
    assert one.at_baseline()


def test_closing_without_a_request_closes_runner_and_model(harness: Any) -> None:
    one = harness()
    one.engine.close()
    one.engine.close()
    assert (one.runner.closed, one.model.closed) == (1, 1)


def test_a_model_that_is_not_the_engines_stays_open(fakes: Any) -> None:
    model, runner = fakes.Model(), fakes.Runner()
    with LLMEngine(model, runner, own_model=False):
        pass
    assert (runner.closed, model.closed) == (1, 0)


def test_closing_from_a_sink(harness: Any, fakes: Any) -> None:
    one = harness()
    events = fakes.Events()

    def sink(event: TokenEvent) -> None:
        events(event)
        if not event.last:
            one.engine.close()

    one.submit(sink=sink, ignore_eos=True)
    assert isinstance(events.wait().error, EngineClosedError)
    one.engine.close()


def test_the_runner_is_called_from_one_thread(harness: Any) -> None:
    one = harness()
    pending = [one.submit(f"prompt {number}", max_tokens=5)[1] for number in range(10)]
    for events in pending:
        events.wait()
    assert one.runner.threads == {"sagellm-engine"}


def test_an_engine_that_nobody_refers_to_ends(fakes: Any) -> None:
    model, runner = fakes.Model(), fakes.Runner()
    engine = LLMEngine(model, runner)
    from sagellm_core.contract import GenerationRequest, SamplingParams

    events = fakes.Events()
    engine.submit(
        GenerationRequest(
            request_id="r", prompt_token_ids=(1,), sampling=SamplingParams(max_tokens=2)
        ),
        events,
    )
    events.wait()
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    deadline = time.monotonic() + 10
    while not model.closed and time.monotonic() < deadline:
        time.sleep(0.005)
    assert (runner.closed, model.closed) == (1, 1)


def in_process(code: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    """Run code over the mock provider in an interpreter of its own."""
    head = """
        import os, sys, threading, time
        from sagellm_core.contract import *
        from sagellm_core.engine import EngineClient, LLMEngine
        class Tokenizer:
            vocab_size, has_chat_template = 300, False
            def decode(self, ids, *, skip_special_tokens=True): return "x" * len(ids)
        class Model:
            description = ModelDescription(reference="x", format=ModelFormat.UNRESOLVED)
            tokenizer, max_model_len, eos_token_ids = Tokenizer(), 4096, frozenset()
            def close(self): print("model closed", flush=True)
        class Runner:
            max_slots, capacity, step_s = 4, KVCapacity(512, 16, 1), 0.0
            def prefill(self, rows):
                return CompletedStep(StepResult([1 if row.sample else -1 for row in rows]))
            def decode(self, rows):
                time.sleep(self.step_s)
                return CompletedStep(StepResult([1] * len(rows)))
            def close(self): print("runner closed", flush=True)
        engine = LLMEngine(Model(), Runner())
        client = EngineClient(engine)
        greedy = SamplingParams(temperature=0)
    """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=timeout, check=False
    )


def test_the_interpreter_exits_while_requests_run() -> None:
    done = in_process("""
        Runner.step_s = 0.01
        stream = client.stream([1], greedy)
        next(stream)
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:2] == ["runner closed", "model closed"]


def test_the_interpreter_exits_while_a_step_hangs() -> None:
    started = time.monotonic()
    done = in_process("""
        stream = client.stream([1], greedy)
        next(stream)
        Runner.step_s = 1000
        time.sleep(0.05)
    """)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - started < 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_told_where_the_engine_is() -> None:
    done = in_process("""
        client.generate([1], SamplingParams(max_tokens=2))
        import warnings
        warnings.simplefilter("ignore")
        child = os.fork()
        if child == 0:
            try:
                client.generate([1], SamplingParams(max_tokens=2))
            except EngineClosedError as error:
                print(error.message, flush=True)
            print(engine.cancel("x"), flush=True)
            engine.close()
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        print("child", os.waitstatus_to_exitcode(status), flush=True)
        print(len(client.generate([1], SamplingParams(max_tokens=2))[0].token_ids), flush=True)
        engine.close()
    """)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert "was opened in another process" in lines[0]
    assert lines[1:] == ["False", "child 0", "2", "runner closed", "model closed"]


# --- opening -------------------------------------------------------------------------------


class FakeProvider:
    def __init__(self, fakes: Any, *, has_engine: bool = False) -> None:
        self.has_engine = has_engine
        self.asked: list[Any] = []
        self._fakes = fakes

    def open_engine(self, model: Any, config: EngineConfig) -> Any:
        self.asked.append(config)
        return "the vendor's own"

    def open_runner(self, model: Any, config: Any) -> Any:
        self.asked.append(config)
        return self._fakes.Runner(max_slots=config.max_slots)


def test_open_asks_the_runner_for_what_the_config_says(fakes: Any) -> None:
    provider, model = FakeProvider(fakes), fakes.Model()
    config = EngineConfig(
        max_num_seqs=3, max_prefill_tokens=7, block_size=8, num_blocks=9, kv_memory_bytes=10
    )
    with LLMEngine.open(provider, model, config) as engine:
        assert engine.max_model_len == 256
    assert dataclasses.asdict(provider.asked[0]) == {
        "max_slots": 3,
        "max_model_len": 256,
        "block_size": 8,
        "num_blocks": 9,
        "kv_memory_bytes": 10,
        "max_prefill_tokens": 7,
    }


def test_open_prefers_the_vendors_engine(fakes: Any) -> None:
    provider = FakeProvider(fakes, has_engine=True)
    assert LLMEngine.open(provider, fakes.Model(), EngineConfig()) == "the vendor's own"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_num_seqs": 0},
        {"max_prefill_tokens": -1},
        {"max_waiting": 0},
        {"block_size": True},
        {"max_model_len": 257},
        {"max_model_len": 1},
        {"num_blocks": 0},
        {"max_num_seqs": "4"},
    ],
)
def test_wrong_limits_are_refused_before_anything_opens(fakes: Any, wrong: Any) -> None:
    provider = FakeProvider(fakes)
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        LLMEngine.open(provider, fakes.Model(), EngineConfig(**wrong))
    assert provider.asked == []


def test_a_runner_is_closed_when_the_engine_cannot_open(fakes: Any) -> None:
    runner = fakes.Runner()
    with pytest.raises(ConfigurationError):
        LLMEngine(fakes.Model(), runner, EngineConfig(max_num_seqs=0))
    assert runner.closed == 1
