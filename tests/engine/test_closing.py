"""The end of an engine: closed, dropped, forked, or with its process."""

from __future__ import annotations

import asyncio
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
    EngineClosedError,
    SamplingParams,
    TokenEvent,
)
from sagellm_core.engine import LLMEngine


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


def test_closing_while_streams_are_read_raises_in_each(harness: Any) -> None:
    one = harness(max_slots=3)
    one.runner.before = lambda name, rows: time.sleep(0.002)
    sampling = SamplingParams(temperature=0, ignore_eos=True)
    # Two run beside the one that is read asynchronously.
    streams = [one.client.stream([number], sampling) for number in range(3)]
    next(streams[0])

    async def read(prompt: list[int]) -> None:
        async for _ in one.client.astream(prompt, sampling):
            if not closer.is_alive() and not one.runner.closed:
                closer.start()

    closer = threading.Thread(target=one.engine.close)
    streams[1].close()
    with pytest.raises(EngineClosedError):
        asyncio.run(read([7]))
    closer.join(10)
    for stream in (streams[0], streams[2]):
        with pytest.raises(EngineClosedError):
            list(stream)
        assert list(stream) == []


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


_FORKED = """
    import asyncio, gc, warnings
    warnings.simplefilter("ignore")

    def told(what, *arguments):
        try:
            what(*arguments)
        except EngineClosedError as error:
            print("another process" in error.message, flush=True)

    def in_child(work):
        child = os.fork()
        if child == 0:
            work()
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("child", os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_stream_carried_into_a_fork_ends_there_and_goes_on_here() -> None:
    done = in_process(
        textwrap.dedent(_FORKED)
        + textwrap.dedent("""
        Runner.step_s = 0.002
        stream = client.stream([1], SamplingParams(max_tokens=20))
        next(stream)
        def child():
            told(next, stream)
            print(list(stream), flush=True)
            stream.close()
            told(engine.stats)
        in_child(child)
        print(len(list(stream)), flush=True)

        async def main():
            events = client.astream([1], SamplingParams(max_tokens=20))
            await anext(events)
            def child():
                try:
                    events.__anext__().send(None)
                except EngineClosedError:
                    print(True, flush=True)
            in_child(child)
            print(len([event async for event in events]), flush=True)
        asyncio.run(main())
        """)
    )
    assert done.stderr == ""
    expected = ["True", "[]", "True", "child 0", "19", "True", "child 0", "19"]
    assert done.stdout.splitlines()[:8] == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_collecting_and_exiting_in_a_fork_touches_nothing_and_does_not_hang() -> None:
    done = in_process(
        textwrap.dedent(_FORKED)
        + textwrap.dedent("""
        stream = client.stream([1], greedy)
        next(stream)
        # The child gets the lock as somebody holds it, and nobody there will let go of it.
        held, let_go = threading.Event(), threading.Event()
        def hold():
            with engine._loop._news:
                held.set()
                let_go.wait()
        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        child = os.fork()
        if child == 0:
            engine.close()
            del stream, client, engine
            gc.collect()
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        let_go.set()
        print("child", os.waitstatus_to_exitcode(status), flush=True)
        engine.close()
        """)
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["child 0", "runner closed", "model closed"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_generator_carried_into_a_fork_raises_and_shuts_down() -> None:
    code = textwrap.dedent(_FORKED) + textwrap.dedent("""
        from sagellm_core import SageLLMGenerator
        generator = SageLLMGenerator("mock", "any", max_tokens=4, temperature=0)
        text = generator.execute("hello")["text"]
        def child():
            told(generator.execute, "hello")
            told(list, generator.stream("hello"))
            generator.shutdown()
        in_child(child)
        print(generator.execute("hello")["text"] == text, flush=True)
        generator.shutdown()
    """)
    done = in_process(code)
    assert done.stderr == ""
    assert done.stdout.splitlines()[:4] == ["True", "True", "child 0", "True"]
