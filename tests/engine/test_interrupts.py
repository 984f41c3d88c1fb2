"""Ctrl-C while waiting for an answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

INTERRUPTED = """
    import sys, threading, time
    from sagellm_core.contract import *
    from sagellm_core.engine import EngineClient, LLMEngine
    class Tokenizer:
        vocab_size, has_chat_template = 300, False
        def decode(self, ids, *, skip_special_tokens=True): return "x" * len(ids)
    class Model:
        description = ModelDescription(reference="x", format=ModelFormat.UNRESOLVED)
        tokenizer, max_model_len, eos_token_ids = Tokenizer(), 100000, frozenset()
        def close(self): pass
    class Runner:
        max_slots, capacity, began = 4, KVCapacity(100000, 16, 1), False
        def prefill(self, rows):
            if not self.began:
                print("running", flush=True)
            self.began = True
            return CompletedStep(StepResult([1 if row.sample else -1 for row in rows]))
        def decode(self, rows):
            time.sleep({step})
            return CompletedStep(StepResult([1] * len(rows)))
        def close(self): pass
    engine = LLMEngine(Model(), Runner())
    client = EngineClient(engine)
    try:
        {call}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    if {step} < 1:
        deadline = time.monotonic() + 5
        while engine.stats().running and time.monotonic() < deadline:
            time.sleep(0.01)
        print(engine.stats().running, engine.stats().blocks_free, flush=True)
        engine.close()
"""


@pytest.mark.parametrize("step", [0.005, 1000], ids=["running", "hanging"])
@pytest.mark.parametrize(
    "call",
    [
        "client.generate([[1], [2]], SamplingParams())",
        "client.generate([1], SamplingParams(), timeout=100)",
        "for _ in client.stream([1], SamplingParams()): pass",
    ],
    ids=["generate", "timeout", "stream"],
)
def test_ctrl_c_passes_through_and_cancels(call: str, step: float) -> None:
    code = textwrap.dedent(INTERRUPTED).format(call=call, step=step)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "running\n"
        time.sleep(0.05)
        sent = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - sent < 2
        assert process.stdout.read() == ("0 100000\n" if step < 1 else "")
        assert process.stderr.read() == ""
        assert process.wait(20) == 0
