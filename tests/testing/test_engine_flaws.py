"""Providers that fail behind an engine in one way, and which tests find it."""

from __future__ import annotations

from typing import Any

import pytest

GROUPS = ("engine",)
_RUNNER = """
@hookimpl
def sagellm_open_runner(model, config):
    from .runner import Slot, TinyRunner, draw
    class Flawed(TinyRunner):
{body}
    return Flawed(model, config)
"""
# The engine of a vendor's library: core's, so that it works but for the flaw.
_ENGINE = """
@hookimpl
def sagellm_open_engine(model, config):
    from sagellm_core.engine import LLMEngine
    from sagellm_core.engine.limits import check_limits, runner_config
    class Own(LLMEngine):
{body}
    runner = sagellm_open_runner(model, runner_config(model, config))
    return Own(model, runner, config, own_model=False)
"""
OWN = {"declared": {"capabilities": "{'generate', 'logprobs', 'embed', 'engine'}"}}
INFO = {"info": "capabilities=CAPABILITIES | {'engine'}"}


def runner(body: str) -> str:
    """A module whose runner has these methods."""
    return _RUNNER.format(body=_indented(body))


def engine(body: str) -> dict[str, Any]:
    """A plugin with an engine of its own that has these methods."""
    return {"body": _ENGINE.format(body=_indented(body)), **OWN, **INFO}


def _indented(body: str) -> str:
    return "\n".join(" " * 4 + line for line in body.splitlines())


REFERENCE = "test_greedy_answers_equal_the_reference"
MEMORY = {f"test_out_of_memory_is_survived[{when}]" for when in ("before", "after", "result")}

FLAWS: dict[str, dict[str, Any]] = {
    "fine": {},
    "fine_engine": engine("    pass"),
    "shares_no_prefixes_but_says_so": {
        "body": runner("""
    def read(self, slot, number, length):
        kept = super().read(slot, number, length)
        kept[:, : getattr(slot, "cached", 0)] = 0
        return kept
    def prefill(self, rows):
        for row in rows:
            if row.begin is not None and row.begin.cached_token_ids:
                self.cached = len(row.begin.cached_token_ids)
        return super().prefill(rows)
    def step(self, slot, tokens, *, sample):
        if hasattr(self, "cached"):
            slot.cached = self.cached
            del self.cached
        return super().step(slot, tokens, sample=sample)
"""),
        # Rows that were out of memory begin anew with what the cache still has of them.
        "caught": {"test_a_prefix_is_found_again", *MEMORY},
    },
    "shares_nothing_and_says_so": {
        "body": runner("""
    def __init__(self, model, config):
        from dataclasses import replace
        super().__init__(model, config)
        self.capacity = replace(self.capacity, shareable=False)
"""),
    },
    "is_broken_by_a_failed_step": {
        "body": runner("""
    def forward(self, slot, tokens):
        # As where the host believes that the device is always one step behind it.
        slot.count = getattr(slot, "count", 0) + 1
        return super().forward(slot, tokens)
    def prefill(self, rows):
        for row in rows:
            if row.begin is not None and row.begin.prompt_len < row.start + len(row.token_ids):
                raise RuntimeError("a sequence begins with output")
        return super().prefill(rows)
"""),
        "caught": {"test_a_preempted_request_gives_the_same", *MEMORY},
    },
    "raises_when_steps_are_many": {
        "body": runner("""
    def decode(self, rows):
        if len(rows) > 2:
            raise RuntimeError("too many rows")
        return super().decode(rows)
"""),
        # Others catch it when three of their requests happen to be decoded together.
        "among": {
            REFERENCE,
            "test_a_preempted_request_gives_the_same",
            "test_text_and_usage_fit_the_tokens",
            "test_cancelling_frees_everything",
            *MEMORY,
            "test_a_lost_device_ends_every_request",
        },
    },
    "asks_for_steps_ahead": {"body": runner("    queues_ahead = True")},
    "asks_for_steps_ahead_that_it_cannot_take": {
        # It goes on from the token that the host has read last.
        "body": runner("""
    queues_ahead = True
    def prefill(self, rows):
        return self.handle(super().prefill(rows), rows)
    def decode(self, rows):
        for row in rows:
            slot = self.slots[row.slot]
            slot.last = getattr(slot, "known", slot.last)
        return self.handle(super().decode(rows), rows)
    def handle(self, step, rows):
        slots = [self.slots[row.slot] for row in rows]
        class Handle:
            def result(self):
                for slot, token in zip(slots, step.step.token_ids, strict=True):
                    slot.known = token
                return step.step
        return Handle()
"""),
        "among": {REFERENCE, "test_steps_ahead_give_the_same"},
    },
    "cancels_nothing": {
        **engine("""
    def cancel(self, request_id):
        return True
"""),
        "caught": {"test_cancelling_frees_everything"},
    },
    "leaks_blocks_when_cancelling": {
        **engine("""
    def cancel(self, request_id):
        self.leaked = getattr(self, "leaked", 0) + 2
        return super().cancel(request_id)
    def stats(self):
        from dataclasses import replace
        found = super().stats()
        return replace(found, blocks_free=found.blocks_free - getattr(self, "leaked", 0))
"""),
        "caught": {"test_cancelling_frees_everything"},
    },
    "closes_and_goes_on": {
        **engine("""
    def close(self):
        pass
"""),
        "caught": {"test_closing_ends_requests"},
    },
    "closes_engines_once": {
        **engine("""
    def close(self):
        assert not getattr(self, "over", False), "closed before"
        self.over = True
        super().close()
"""),
        "caught": {"test_closing_ends_requests"},
    },
    "closes_the_model_too": {
        "body": _ENGINE.format(body="        pass").replace("own_model=False", "own_model=True"),
        **OWN,
        **INFO,
        # What the tests share is gone, so that others fail as well.
        "among": {"test_closing_leaves_the_model_open"},
    },
    "finds_no_prefix": {
        **engine("    pass"),
        "body": _ENGINE.format(body="        pass").replace(
            "    runner =",
            "    from dataclasses import replace\n"
            "    config = replace(config, prefix_cache=False)\n    runner =",
        ),
        "caught": {"test_a_prefix_is_found_again"},
    },
    "has_no_engine_but_says_so": {
        **OWN,
        **INFO,
        # The probe refuses it, so that nothing of it is run.
        "caught": {"test_has_a_passing_test[engine]"},
    },
    "drops_the_last_character": {
        **engine("""
    def submit(self, request, sink):
        from dataclasses import replace
        super().submit(request, lambda event: sink(replace(event, text=event.text[:-1])))
"""),
        "caught": {"test_text_and_usage_fit_the_tokens"},
    },
    "takes_impossible_requests": {
        **engine("""
    def submit(self, request, sink):
        if not request.prompt_token_ids:
            raise IndexError("list index out of range")
        super().submit(request, sink)
"""),
        "caught": {"test_impossible_requests_are_refused"},
    },
}


@pytest.mark.parametrize("name", FLAWS)
def test_the_flaw_is_caught_by(findings: Any, name: str) -> None:
    found = {
        each
        for each in findings[name]
        if each.partition("[")[2] not in ("generate]", "embed]", "logprobs]")
    }
    if "among" in FLAWS[name]:
        assert found >= FLAWS[name]["among"], findings[name]
    else:
        assert found == FLAWS[name].get("caught", set()), findings[name]
