"""Providers whose runner breaks a promise in one way, and which tests find it."""

from __future__ import annotations

from typing import Any

import pytest

GROUPS = ("contract",)
CLASSES = ("TestRunner", "TestSampling")
_RUNNER = """
@hookimpl
def sagellm_open_runner(model, config):
    from .runner import Slot, TinyRunner, draw
    class Flawed(TinyRunner):
{body}
    return Flawed(model, config)
"""


def runner(body: str) -> str:
    """A module whose runner has these methods."""
    return _RUNNER.format(body="\n".join(" " * 4 + line for line in body.splitlines()))


BLOCKS = {"test_a_foreign_block_is_refused", "test_other_slots_survive_a_refusal"}

FLAWS: dict[str, dict[str, Any]] = {
    "fine": {},
    "closes_runners_once": {
        "body": runner("""
    def close(self):
        assert self.cache is not None, "closed before"
        super().close()
"""),
        "caught": {"test_runners_close_twice"},
    },
    "keeps_caches_when_closed": {
        "body": runner("""
    def close(self):
        KEPT.append(self.cache)
        super().close()
""")
        + "KEPT = []\n",
        "caught": {"test_closed_runners_return_their_memory"},
    },
    "computes_when_closed": {
        "body": runner("""
    def check_open(self):
        pass
"""),
        "caught": {"test_calls_after_close_are_refused"},
    },
    "takes_any_block": {
        "body": runner("""
    def check_blocks(self, blocks):
        pass
"""),
        "caught": BLOCKS,
    },
    "takes_too_few_blocks": {
        "body": runner("""
    def check_room(self, slot, new_blocks, length):
        pass
"""),
        "caught": {"test_too_few_blocks_are_refused"},
    },
    "begins_slots_by_itself": {
        "body": runner("""
    def slot(self, number):
        slot = self.slots.setdefault(number, Slot(SamplingParams(seed=0), 0))
        slot.last = slot.last or 5
        return slot
    def check_room(self, slot, new_blocks, length):
        pass
"""),
        "caught": {
            "test_a_slot_that_was_never_begun_is_refused",
            "test_too_few_blocks_are_refused",
        },
    },
    "forgets_all_slots_at_an_error": {
        "body": runner("""
    def check_blocks(self, blocks):
        try:
            super().check_blocks(blocks)
        except BlockAccountingError:
            self.slots.clear()
            raise
"""),
        "caught": {"test_other_slots_survive_a_refusal"},
    },
    "takes_any_context": {
        "body": runner("""
    def __init__(self, model, config):
        from dataclasses import replace
        super().__init__(model, replace(config, max_model_len=1))
"""),
        "caught": {"test_a_context_beyond_the_models_is_refused"},
    },
    "makes_the_cache_it_likes": {
        "body": runner("""
    def __init__(self, model, config):
        from dataclasses import replace
        super().__init__(model, replace(config, num_blocks=128, kv_memory_bytes=None))
"""),
        "caught": {
            "test_the_cache_is_as_asked_for",
            "test_a_cache_that_holds_nothing_is_refused",
        },
    },
    "has_one_cache_for_all_runners": {
        "body": runner("""
    def __init__(self, model, config):
        super().__init__(model, config)
        key = self.cache.shape
        self.cache = CACHES.setdefault(key, self.cache) if self.cache.size < 1e6 else self.cache
""")
        + "CACHES = {}\n",
        "caught": {"test_two_runners_over_one_model", "test_two_models_at_once"},
    },
    "has_the_weights_of_the_last_model": {
        "body": """
@hookimpl
def sagellm_load_model(model, options):
    from .model import TinyProviderModel
    class Flawed(TinyProviderModel):
        @property
        def weights(self):
            return LAST[self.config["hidden_size"]]
        def close(self):
            super().close()
    loaded = Flawed(model, options)
    LAST[loaded.config["hidden_size"]] = loaded._weights
    return loaded
LAST = {}
""",
        "declared": {"model_types": "('llama', 'mistral')"},
        "caught": {
            "test_two_models_at_once",
            "test_penalties_and_bias",
            "test_penalties_after_a_preemption",
        },
    },
    "draws_by_the_clock": {
        "body": runner("""
    def draw(self, logits, slot):
        global DRAWS
        DRAWS += 1
        return draw(logits, slot.tokens, slot.prompt_len, slot.sampling, DRAWS)
""")
        + "DRAWS = 0\n",
        "caught": {
            "test_a_seed_repeats",
            "test_a_draw_does_not_depend_on_the_batch",
            "test_a_draw_depends_on_its_index",
        },
    },
    "draws_by_the_row": {
        "body": runner("""
    def prefill(self, rows):
        self.row = 0
        return super().prefill(rows)
    def decode(self, rows):
        self.row = 0
        return super().decode(rows)
    def draw(self, logits, slot):
        self.row += 1000
        index = len(slot.tokens) - slot.prompt_len + self.row
        return draw(logits, slot.tokens, slot.prompt_len, slot.sampling, index)
""")
        + "\n",
        "caught": {"test_a_draw_does_not_depend_on_the_batch"},
    },
    "counts_draws_since_the_slot_began": {
        "body": runner("""
    def draw(self, logits, slot):
        slot.drawn = getattr(slot, "drawn", -1) + 1
        return draw(logits, slot.tokens, slot.prompt_len, slot.sampling, slot.drawn)
"""),
        "caught": {"test_a_draw_depends_on_its_index"},
    },
    "ignores_the_seed": {
        "body": runner("""
    def draw(self, logits, slot):
        index = len(slot.tokens) - slot.prompt_len
        from dataclasses import replace
        fixed = replace(slot.sampling, seed=0)
        return draw(logits, slot.tokens, slot.prompt_len, fixed, index)
"""),
        "caught": {"test_a_seed_repeats"},
    },
    "penalises_the_prompt": {
        "body": runner("""
    def draw(self, logits, slot):
        index = len(slot.tokens) - slot.prompt_len
        return draw(logits, slot.tokens, 0, slot.sampling, index)
"""),
        "caught": {"test_penalties_and_bias", "test_penalties_after_a_preemption"},
    },
    "takes_resumed_output_for_prompt": {
        "body": runner("""
    def draw(self, logits, slot):
        slot.begun = getattr(slot, "begun", len(slot.tokens))
        index = len(slot.tokens) - slot.prompt_len
        return draw(logits, slot.tokens, slot.begun, slot.sampling, index)
"""),
        "caught": {"test_penalties_after_a_preemption"},
    },
    "tells_no_logprobs": {
        "body": runner("""
    def draw(self, logits, slot):
        return super().draw(logits, slot)._replace(logprobs=None)
"""),
        "caught": {
            "test_logprobs_are_told_where_asked_for",
            "test_has_a_passing_test[logprobs]",
        },
    },
    "tells_the_worst_first": {
        "body": runner("""
    def draw(self, logits, slot):
        drawn = super().draw(logits, slot)
        told = drawn.logprobs
        if told is None:
            return drawn
        turned = TokenLogprobs(told.token_id, told.logprob, told.top[::-1])
        return drawn._replace(logprobs=turned)
"""),
        "caught": {
            "test_logprobs_are_told_where_asked_for",
            "test_has_a_passing_test[logprobs]",
        },
    },
}


@pytest.mark.parametrize("name", FLAWS)
def test_the_flaw_is_caught_by(findings: Any, name: str) -> None:
    # Nothing of these classes proves that it generates or embeds.
    found = {each for each in findings[name] if "[generate]" not in each and "[embed]" not in each}
    assert found == FLAWS[name].get("caught", set()), findings[name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("closes_runners_once", "Runner.close was called twice, and raised AssertionError: closed"),
        ("keeps_caches_when_closed", "were opened and closed, and the process holds"),
        ("takes_any_block", "ends in IndexError"),
    ],
)
def test_the_sentence_says_what(findings: Any, name: str, sentence: str) -> None:
    assert sentence in " ".join(findings[name].values())
