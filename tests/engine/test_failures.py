"""A runner that fails, and one that breaks its contract."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sagellm_core.contract import (
    CompletedStep,
    DeviceLostError,
    DeviceOutOfMemoryError,
    EngineClosedError,
    EngineError,
    FinishReason,
    InvalidSamplingError,
    RunnerError,
    StepResult,
    TokenizerError,
    UnsupportedOptionError,
)


def failing(
    error: BaseException, when: Callable[[str, list[Any]], bool], *, pause: float = 0.0
) -> Any:
    """Raise ``error`` at the first call for which ``when`` holds; each takes ``pause``."""
    raised: list[bool] = []

    def before(name: str, rows: list[Any]) -> None:
        time.sleep(pause)
        if not raised and when(name, rows):
            raised.append(True)
            raise error

    return before


def works(one: Any) -> None:
    _, events = one.submit("works", max_tokens=4, ignore_eos=True)
    assert events.wait().finish_reason is FinishReason.LENGTH
    assert events.token_ids == one.expected("works", 4, ignore_eos=True)


@pytest.mark.parametrize("step", ["prefill", "decode"])
@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), KeyboardInterrupt()])
def test_the_requests_of_a_failed_step_get_the_cause_and_the_engine_lives(
    harness: Any, step: str, error: BaseException
) -> None:
    one = harness()
    one.runner.before = failing(error, lambda name, rows: name == step)
    _, events = one.submit(ignore_eos=True)
    last = events.wait()
    assert type(last.error) is RunnerError
    assert type(error).__name__ in last.error.message
    assert last.error.__cause__ is error
    one.settle()
    works(one)


def test_an_error_of_the_contract_is_kept_as_it_is(harness: Any) -> None:
    one = harness()
    error = InvalidSamplingError("top_k is not offered")
    one.runner.before = failing(error, lambda name, rows: True)
    assert one.submit()[1].wait().error is error
    works(one)


def test_only_the_requests_of_the_failed_call_fail(harness: Any) -> None:
    one = harness()
    one.runner.before = lambda name, rows: time.sleep(0.005)
    _, decoding = one.submit("decoding", ignore_eos=True, max_tokens=60)
    decoding.wait(count=2)
    one.runner.before = failing(
        ValueError("boom"), lambda name, rows: name == "prefill", pause=0.001
    )
    assert isinstance(one.submit("new")[1].wait().error, RunnerError)
    decoding.wait()
    assert decoding.token_ids == one.expected("decoding", 60, ignore_eos=True)


def test_a_handle_that_fails_is_a_failed_step(harness: Any) -> None:
    one = harness()
    whole = one.runner.decode

    class Broken:
        def result(self) -> StepResult:
            raise OSError("copy failed")

    one.runner.decode = lambda rows: Broken()
    assert "copy failed" in str(one.submit(ignore_eos=True)[1].wait().error)
    one.runner.decode = whole
    works(one)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (StepResult([]), "0 tokens for 1 rows"),
        (StepResult([1, 2]), "2 tokens for 1 rows"),
        (StepResult([258]), "token id 258, outside the vocabulary of 258"),
        (StepResult([-1]), "token id -1"),
        (StepResult([1], [None, None]), "2 log-probabilities for 1 rows"),
        (StepResult(["a"]), "TypeError"),  # type: ignore[list-item]
        (None, "AttributeError"),
    ],
)
@pytest.mark.parametrize("step", ["prefill", "decode"])
def test_breaking_the_contract_is_named(harness: Any, step: str, result: Any, said: str) -> None:
    one = harness()
    whole = getattr(one.runner, step)
    setattr(one.runner, step, lambda rows: CompletedStep(result))
    error = one.submit(ignore_eos=True)[1].wait().error
    assert isinstance(error, RunnerError)
    assert said in error.message
    assert step in error.message
    setattr(one.runner, step, whole)
    works(one)


def test_a_token_for_a_row_that_asked_for_none_breaks_the_contract(harness: Any) -> None:
    one = harness(max_prefill_tokens=4)
    one.runner.prefill = lambda rows: CompletedStep(StepResult([5]))
    error = one.submit("longer than four")[1].wait().error
    assert "asked for none" in str(error)


def test_a_call_that_returns_nothing_is_a_failed_step(harness: Any) -> None:
    one = harness()
    one.runner.decode = lambda rows: None
    assert isinstance(one.submit(ignore_eos=True)[1].wait().error, RunnerError)


def test_logprobs_that_do_not_come_are_an_error(harness: Any) -> None:
    one = harness()
    one.runner.prefill = lambda rows: CompletedStep(StepResult([5] * len(rows)))
    assert isinstance(one.submit(logprobs=1)[1].wait().error, UnsupportedOptionError)


@pytest.mark.parametrize("step", ["prefill", "decode"])
def test_a_lost_device_fails_all_and_closes_the_engine(harness: Any, step: str) -> None:
    one = harness(max_slots=2)
    one.runner.before = lambda name, rows: time.sleep(0.005)
    _, running = one.submit("running", ignore_eos=True)
    running.wait(count=3)
    error = DeviceLostError("device 0 was reset")
    one.runner.before = failing(error, lambda name, rows: name == step, pause=0.005)
    try:
        others = [one.submit(f"other {number}", ignore_eos=True)[1] for number in range(3)]
    except EngineClosedError:
        others = []
    for events in [running, *others]:
        assert isinstance(events.wait().error, DeviceLostError)
    with pytest.raises(EngineClosedError, match="device 0 was reset") as caught:
        one.submit()
    assert caught.value.__cause__ is error
    one.engine.close()
    assert one.at_baseline()


def test_a_runner_that_fails_to_close_after_its_device_was_lost_is_no_news(harness: Any) -> None:
    one = harness()
    one.runner.before = failing(DeviceLostError("gone"), lambda name, rows: True)
    close = one.runner.close

    def fail() -> None:
        close()
        raise OSError("no device")

    one.runner.close = fail
    one.submit()[1].wait()
    one.engine.close()


def test_a_runner_that_fails_to_close_is_told_once_and_the_model_is_closed(harness: Any) -> None:
    one = harness()
    close = one.runner.close

    def fail() -> None:
        close()
        raise OSError("cannot free")

    one.runner.close = fail
    one.submit(max_tokens=1)[1].wait()
    with pytest.raises(RunnerError, match="cannot free"):
        one.engine.close()
    one.engine.close()
    assert one.model.closed == 1


# --- out of memory -------------------------------------------------------------------------


def at_most(blocks: int, one: Any, step: str | None = None) -> Any:
    """Out of memory when a call's sequences hold more than so many blocks."""
    seen: list[int] = []

    def before(name: str, rows: list[Any]) -> None:
        held = sum(
            len(row.new_blocks)
            + (len(one.runner.slots[row.slot].table) if getattr(row, "begin", 0) is None else 0)
            if name == "prefill"
            else len(row.new_blocks) + len(one.runner.slots[row.slot].table)
            for row in rows
        )
        seen.append(held)
        if held > blocks and step in (None, name):
            raise DeviceOutOfMemoryError(f"{held} blocks")

    before.seen = seen  # type: ignore[attr-defined]
    return before


@pytest.mark.parametrize("step", ["prefill", "decode", None])
def test_out_of_memory_with_several_loses_nothing(harness: Any, step: str | None) -> None:
    one = harness(max_slots=8, num_blocks=200)
    one.runner.before = at_most(14, one, step)
    prompts = [f"prompt number {number}" for number in range(8)]
    pending = [one.submit(prompt, max_tokens=30, ignore_eos=True)[1] for prompt in prompts]
    for prompt, events in zip(prompts, pending, strict=True):
        assert events.wait().finish_reason is FinishReason.LENGTH
        assert events.token_ids == one.expected(prompt, 30, ignore_eos=True)
    assert max(one.runner.before.seen) > 14
    assert one.engine.stats().preemptions > 0


def test_out_of_memory_alone_is_that_requests_error(harness: Any) -> None:
    one = harness(max_slots=4, num_blocks=200)
    one.runner.before = at_most(6, one)
    _, large = one.submit("x" * 40)
    _, small = one.submit("small", max_tokens=5, ignore_eos=True)
    assert isinstance(large.wait().error, DeviceOutOfMemoryError)
    assert small.wait().finish_reason is FinishReason.LENGTH


def test_concurrency_comes_back_after_memory_ran_out(harness: Any, gate: Any) -> None:
    one = harness(max_slots=4, num_blocks=400)
    one.runner.before = gate
    pending = [one.submit(f"p{number}", max_tokens=200, ignore_eos=True) for number in range(4)]
    assert gate.reached.wait(10)
    one.runner.before = failing(
        DeviceOutOfMemoryError("once"), lambda name, rows: name == "decode" and len(rows) == 4
    )
    gate.open()
    for _, events in pending:
        events.wait()
    widths = [len(rows) for name, rows in one.runner.calls if name == "decode"]
    after = widths[widths.index(4) + 1 + one.ahead :]
    assert after[0] <= 2
    assert max(after) == 4


def test_memory_running_out_in_both_calls_of_one_step(harness: Any) -> None:
    one = harness(max_slots=2)
    one.runner.before = lambda name, rows: time.sleep(0.002)
    _, first = one.submit("first", max_tokens=40, ignore_eos=True)
    first.wait(count=2)
    failed: list[str] = []

    def before(name: str, rows: list[Any]) -> None:
        # In the one step in which `first` decodes and `second` prefills, both calls fail.
        if len(failed) < 2 and one.engine.stats().running == 2:
            failed.append(name)
            raise DeviceOutOfMemoryError(name)
        if not failed:
            time.sleep(0.002)

    one.runner.before = before
    _, second = one.submit("second", max_tokens=40, ignore_eos=True)
    for prompt, events in (("first", first), ("second", second)):
        events.wait()
        assert events.token_ids == one.expected(prompt, 40, ignore_eos=True)
    # Ahead, the next step's decode stands before this one's prefill has been read.
    assert failed == ["decode", "decode" if one.ahead else "prefill"]


# --- tokenizer and engine ------------------------------------------------------------------


@pytest.mark.parametrize("error", [TokenizerError("bad id"), IndexError("bad id")])
def test_a_tokenizer_that_fails_takes_only_that_request(
    harness: Any, fakes: Any, error: Exception
) -> None:
    class Fragile(fakes.Tokenizer):  # type: ignore[misc]
        def decode(self, token_ids: Any, *, skip_special_tokens: bool = True) -> str:
            if 120 in token_ids:
                raise error
            return str(super().decode(token_ids))

    one = harness(model=fakes.Model(Fragile()))
    good = one.runner.answer
    one.runner.answer = lambda tokens, prompt_len, sampling: (
        120 if len(tokens) > 12 else good(tokens, prompt_len, sampling)
    )
    _, bad = one.submit("hello", ignore_eos=True)
    _, fine = one.submit("hello", ignore_eos=True, max_tokens=4)
    last = bad.wait()
    assert isinstance(last.error, (TokenizerError, EngineError))
    assert fine.wait().finish_reason is FinishReason.LENGTH


def test_a_defect_of_the_engine_ends_requests_rather_than_hanging(
    harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = harness()
    # A table that lost a block: its release cannot add up.
    one.runner.before = lambda name, rows: (
        one.engine._loop._scheduler.decoding[0].blocks.pop() and None if name == "decode" else None
    )
    _, events = one.submit(max_tokens=3, ignore_eos=True)
    error = events.wait().error
    assert isinstance(error, EngineClosedError)
    assert "BlockAccountingError" in error.message
    with pytest.raises(EngineClosedError):
        one.submit()
    one.engine.close()
    assert (one.runner.closed, one.model.closed) == (1, 1)


def test_a_runner_without_blocks_is_refused(fakes: Any) -> None:
    from sagellm_core.engine import LLMEngine

    runner = fakes.Runner()
    runner.capacity = SimpleNamespace(num_blocks=0, block_size=4, shareable=True)
    with pytest.raises(EngineError, match="num_blocks=0"):
        LLMEngine(fakes.Model(), runner)
    assert runner.closed == 1
