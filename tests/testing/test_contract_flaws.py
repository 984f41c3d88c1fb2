"""Providers that break a promise of the contract in one way, and which tests find it."""

from __future__ import annotations

from typing import Any

import pytest

GROUPS = ("contract",)
_RUNNER = """
@hookimpl
def sagellm_open_runner(model, config):
    from .runner import Slot, TinyRunner, draw
    class Flawed(TinyRunner):
{body}
    return Flawed(model, config)
"""
_EMBEDDER = """
@hookimpl
def sagellm_open_embedder(model, config):
    from .embedder import TinyEmbedder
    class Flawed(TinyEmbedder):
{body}
    return Flawed(model, config)
"""
_LOADER = """
@hookimpl
def sagellm_load_model(model, options):
    from .model import TinyProviderModel
    class Flawed(TinyProviderModel):
{body}
    return Flawed(model, options)
"""


def runner(body: str) -> str:
    """A module whose runner has these methods."""
    return _RUNNER.format(body=_indented(body))


def embedder(body: str) -> str:
    """A module whose embedder has these methods."""
    return _EMBEDDER.format(body=_indented(body))


def loaded(body: str) -> str:
    """A module whose models have these methods."""
    return _LOADER.format(body=_indented(body))


def _indented(body: str) -> str:
    return "\n".join(" " * 4 + line for line in body.splitlines())


BLOCKS = {"test_a_foreign_block_is_refused", "test_other_slots_survive_a_refusal"}
DAMAGED = {
    f"test_a_damaged_model_is_refused[{damage}]"
    for damage in ("tensor_missing", "tensor_of_another_shape")
}

FLAWS: dict[str, dict[str, Any]] = {
    "fine": {},
    "knows_every_option": {
        "body": loaded("""
    def __init__(self, model, options):
        super().__init__(model, LoadOptions(dtype=options.dtype))
"""),
        "caught": {
            "test_an_unknown_provider_option_is_refused",
            "test_an_unknown_name_is_refused[quantization]",
        },
    },
    "raises_what_comes": {
        "body": loaded("""
    def __init__(self, model, options):
        {"auto": 4, "float32": 4}[options.dtype]
        super().__init__(model, options)
"""),
        "caught": {"test_an_unknown_name_is_refused[dtype]"},
    },
    "says_not_what_to_do": {
        "body": loaded("""
    def __init__(self, model, options):
        if options.provider_options:
            raise ConfigurationError("No.")
        super().__init__(model, options)
"""),
        "caught": {"test_an_unknown_provider_option_is_refused"},
    },
    "checks_no_tensors": {
        "body": """
@hookimpl
def sagellm_load_model(model, options):
    from . import model as module
    kept, module.check_weights = module.check_weights, lambda *_: None
    try:
        return module.TinyProviderModel(model, options)
    finally:
        module.check_weights = kept
""",
        "caught": DAMAGED,
    },
    "loads_whatever_it_is_called": {
        "body": """
@hookimpl
def sagellm_can_load(model, device):
    return LoadAnswer(verdict=LoadVerdict.YES)
""",
        "caught": {"test_an_unknown_architecture_is_refused"},
    },
    "says_no_without_a_reason": {
        "body": """
@hookimpl
def sagellm_can_load(model, device):
    verdict = LoadVerdict.YES if model.model_type == "llama" else LoadVerdict.NO
    return LoadAnswer(verdict=verdict)
""",
        "caught": {"test_an_unknown_architecture_is_refused"},
    },
    "promises_a_longer_context": {
        "body": loaded("""
    max_model_len = property(lambda self: 4096, lambda self, value: None)
"""),
        "caught": {
            "test_the_model_says_what_it_is",
        },
    },
    "never_ends_a_text": {
        "body": loaded("""
    eos_token_ids = property(lambda self: frozenset({0}), lambda self, value: None)
"""),
        "caught": {"test_the_model_says_what_it_is"},
    },
    "closes_models_once": {
        "body": loaded("""
    def close(self):
        self._weights.clear()
        self._weights = None
"""),
        "caught": {"test_models_close_twice"},
    },
    "keeps_weights_when_closed": {
        "body": loaded("""
    def close(self):
        pass
"""),
        "caught": {"test_closed_models_return_their_memory"},
    },
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
    "strips_texts": {
        "body": loaded("""
    def __init__(self, model, options):
        super().__init__(model, options)
        whole = self.tokenizer.decode
        self.tokenizer.decode = lambda ids, **how: whole(ids, **how).strip()
"""),
        "caught": {"test_texts_come_back"},
    },
    "shows_special_tokens": {
        "body": loaded("""
    def __init__(self, model, options):
        super().__init__(model, options)
        whole = self.tokenizer.decode
        self.tokenizer.decode = lambda ids, **how: whole(ids, skip_special_tokens=False)
"""),
        "caught": {"test_special_tokens_are_added_and_skipped"},
    },
    "cuts_off_the_end_token": {
        "body": embedder("""
    def encode(self, texts):
        whole = super().encode(texts)
        return TokenizedTexts(token_ids=whole.token_ids, lengths=list(map(len, whole.token_ids)))
"""),
        "caught": {"test_texts_are_encoded_and_cut"},
    },
    "pools_as_it_likes": {
        "body": embedder("""
    def __init__(self, model, config):
        super().__init__(model, EmbedderConfig(max_length=config.max_length))
"""),
        "caught": {"test_an_unknown_pooling_is_refused"},
    },
    "takes_any_length": {
        "body": embedder("""
    def embed(self, batch, *, normalize):
        limit, self.max_length = self.max_length, 10**6
        vectors = super().embed(batch, normalize=normalize)
        self.max_length = limit
        return vectors
"""),
        "caught": {"test_an_input_too_long_is_refused"},
    },
}


@pytest.mark.parametrize("name", FLAWS)
def test_the_flaw_is_caught_by(findings: Any, name: str) -> None:
    # Nothing of the group proves that it generates or embeds.
    found = {each for each in findings[name] if "[generate]" not in each and "[embed]" not in each}
    assert found == FLAWS[name].get("caught", set()), findings[name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("knows_every_option", "An unknown provider option is accepted; a ConfigurationError was"),
        ("raises_what_comes", "An unknown dtype ends in KeyError ('float31'), not in a"),
        ("says_not_what_to_do", "ends in a ConfigurationError without a hint"),
        ("closes_runners_once", "Runner.close was called twice, and raised AssertionError: closed"),
        ("keeps_caches_when_closed", "were opened and closed, and the process holds"),
        ("takes_any_block", "ends in IndexError"),
        ("promises_a_longer_context", "max_model_len is 4096, and the model was made for 256."),
    ],
)
def test_the_sentence_says_what(findings: Any, name: str, sentence: str) -> None:
    assert sentence in " ".join(findings[name].values())
