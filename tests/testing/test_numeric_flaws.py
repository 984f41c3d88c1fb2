"""Providers that compute wrongly in one way, and which tests find it."""

from __future__ import annotations

from typing import Any

import pytest

GROUPS = ("numeric",)
_RUNNER = """
@hookimpl
def sagellm_open_runner(model, config):
    return make(model, config)

def make(model, config):
    import numpy as np
    from .runner import TinyRunner, completed
    from sagellm_core.testing.reference.layers import softmax
    class Flawed(TinyRunner):
{body}
    return Flawed(model, config)
"""
_EMBEDDER = """
@hookimpl
def sagellm_open_embedder(model, config):
    import numpy as np
    from .embedder import TinyEmbedder, pooled
    class Flawed(TinyEmbedder):
{body}
    return Flawed(model, config)
"""


def runner(body: str) -> str:
    """A module whose runner has these methods."""
    return _RUNNER.format(body=_indented(body))


def embedder(body: str) -> str:
    """A module whose embedder has these methods."""
    return _EMBEDDER.format(body=_indented(body))


def _indented(body: str) -> str:
    return "\n".join(" " * 4 + line for line in body.splitlines())


def reference(family: str) -> set[str]:
    """The tests that hold a family's decoder to the reference."""
    return {
        f"test_greedy_tokens_equal_the_reference[{family}]",
        f"test_logprobs_equal_the_reference[{family}]",
        f"test_default_options_are_near_the_reference[{family}]",
    }


def chunked(*chunks: int) -> set[str]:
    return {f"test_chunked_equals_whole_prefill[llama-{chunk}]" for chunk in chunks}


#: Where nothing of the only family is right, neither capability has a test that passes.
UNPROVEN = {"test_has_a_passing_test[generate]", "test_has_a_passing_test[logprobs]"}
#: A model type that is only generated with leaves the third without one, too.
UNEMBEDDED = {"test_has_a_passing_test[embed]"}
BATCHED = "test_batched_equals_alone[llama]"
PREFIX = "test_a_cached_prefix_equals_whole_prefill[llama]"
SCATTERED = "test_scattered_equals_contiguous_blocks[llama]"
BERT = {"model_types": "('llama', 'bert')"}

FLAWS: dict[str, dict[str, Any]] = {
    "fine": {},
    "decode_off_by_one": {
        # A shift of all positions would not matter: rotary embeddings see distances alone.
        "body": runner("""
    def positions(self, slot, tokens):
        return super().positions(slot, tokens) + (len(tokens) == 1 and len(slot.tokens) > 0)
"""),
        "caught": reference("llama")
        | UNPROVEN
        | chunked(1)
        | {
            "test_decode_equals_full_forward[llama]",
        },
    },
    "wrong_rope": {
        "body": runner("""
    def __init__(self, model, config):
        super().__init__(model, config)
        self.theta = 2 * self.theta
"""),
        "caught": reference("llama") | UNPROVEN,
    },
    "chunks_begin_anew": {
        "body": runner("""
    def positions(self, slot, tokens):
        return np.arange(len(tokens)) if len(tokens) > 1 else super().positions(slot, tokens)
"""),
        "caught": chunked(7, 16, 19) | {BATCHED, PREFIX},
    },
    "batch_leaks": {
        "body": runner("""
    def prefill(self, rows):
        self.previous = 0.0
        return super().prefill(rows)
    def decode(self, rows):
        self.previous = 0.0
        return super().decode(rows)
    def forward(self, slot, tokens):
        logits = super().forward(slot, tokens) + 0.02 * self.previous
        self.previous = logits
        return logits
"""),
        "caught": {BATCHED, SCATTERED, PREFIX},
    },
    "ignores_the_block_table": {
        "body": runner("""
    def own(self, slot):
        first, count = slot.table[0], self.capacity.num_blocks
        return [(first + number) % count for number in range(len(slot.table))]
    def write(self, slot, *rest):
        table, slot.table = slot.table, self.own(slot)
        super().write(slot, *rest)
        slot.table = table
    def read(self, slot, *rest):
        table, slot.table = slot.table, self.own(slot)
        kept = super().read(slot, *rest)
        slot.table = table
        return kept
"""),
        "caught": {BATCHED, SCATTERED, PREFIX},
    },
    "ignores_the_window": {
        "body": runner("""
    def __init__(self, model, config):
        super().__init__(model, config)
        self.window = None
"""),
        "declared": {"model_types": "('mistral',)"},
        "caught": reference("mistral") | UNPROVEN | UNEMBEDDED,
    },
    "forgets_biases": {
        "body": runner("""
    def linear(self, x, name):
        return x @ self.model.weights[f"{name}.weight"].T
"""),
        "declared": {"model_types": "('qwen2',)"},
        "caught": reference("qwen2") | UNPROVEN | UNEMBEDDED,
    },
    "forgets_norms_of_heads": {
        "body": runner("""
    def norm(self, x, name):
        return x if name.endswith("k_norm") else super().norm(x, name)
"""),
        "declared": {"model_types": "('qwen3',)"},
        "caught": reference("qwen3") | UNPROVEN | UNEMBEDDED,
    },
    "shares_groups_of_heads_wrongly": {
        "body": runner("""
    def read(self, slot, number, length):
        return super().read(slot, number, length)[:, :, ::-1]
"""),
        "caught": reference("llama") | UNPROVEN,
    },
    "ignores_cached_prefixes": {
        "body": runner("""
    def prefill(self, rows):
        self.skipped = {**getattr(self, "skipped", {})}
        for row in rows:
            if row.begin is not None:
                self.skipped[row.slot] = len(row.begin.cached_token_ids)
        return super().prefill(rows)
    def read(self, slot, number, length):
        kept = super().read(slot, number, length)
        for place, other in self.slots.items():
            if other is slot:
                kept[:, : self.skipped[place]] = 0
        return kept
"""),
        "caught": {PREFIX},
    },
    "writes_to_a_block_once": {
        "body": runner("""
    def write(self, slot, number, begin, k, v):
        size = self.capacity.block_size
        for place in range(len(k)):
            block, offset = divmod(begin + place, size)
            kept = self.cache[number, :, slot.table[block], offset]
            if not kept.any():
                kept[0], kept[1] = k[place], v[place]
"""),
        "caught": {"test_a_slot_forgets[llama]"},
    },
    "says_float32_and_keeps_bfloat16": {
        "body": runner("""
    def write(self, slot, number, begin, k, v):
        rounded = [
            (np.ascontiguousarray(each, np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
            for each in (k, v)
        ]
        super().write(slot, number, begin, *rounded)
"""),
        "caught": {
            "test_logprobs_equal_the_reference[llama]",
            "test_has_a_passing_test[logprobs]",
        },
    },
    "logprobs_after_temperature": {
        "body": runner("""
    def draw(self, logits, slot):
        from .sampler import told
        drawn = super().draw(logits, slot)
        scale = slot.sampling.temperature or 1.0
        return drawn._replace(logprobs=told(logits / scale, drawn.token, slot.sampling.logprobs))
"""),
        "caught": {
            "test_logprobs_equal_the_reference[llama]",
            "test_has_a_passing_test[logprobs]",
        },
    },
    "rounds_in_silence_unless_told_not_to": {
        "body": """
@hookimpl
def sagellm_load_model(model, options):
    import numpy as np
    from .model import TinyProviderModel
    loaded = TinyProviderModel(model, options)
    if options.quantization is None:
        for name, values in loaded.weights.items():
            loaded.weights[name] = np.round(values * 16) / 16
    return loaded
""",
        "caught": {"test_default_options_are_near_the_reference[llama]"},
    },
    "pads_texts": {
        "body": embedder("""
    def vector(self, tokens, batch):
        longest = max(map(len, batch))
        padded = [*tokens, *[0] * (longest - len(tokens))]
        return pooled(self._states.hidden(padded), self.pooling)
"""),
        "declared": BERT,
        "caught": {
            f"{test}[{encoder}]"
            for test in ("test_vectors_equal_the_reference", "test_padding_changes_nothing")
            for encoder in ("bert", "llama")
        }
        | {"test_has_a_passing_test[embed]"},
    },
    "sorts_texts": {
        "body": embedder("""
    def embed(self, batch, *, normalize):
        return super().embed(sorted(batch, key=len), normalize=normalize)
"""),
        "declared": BERT,
        "caught": {
            f"{test}[{encoder}]"
            for test in (
                "test_vectors_equal_the_reference",
                "test_padding_changes_nothing",
                "test_order_changes_nothing",
            )
            for encoder in ("bert", "llama")
        }
        | {"test_has_a_passing_test[embed]"},
    },
    "normalises_always": {
        "body": embedder("""
    def embed(self, batch, *, normalize):
        return super().embed(batch, normalize=True)
"""),
        "caught": {
            "test_vectors_equal_the_reference[llama]",
            "test_has_a_passing_test[embed]",
        },
    },
    "gives_nan_for_one_token": {
        "body": embedder("""
    def vector(self, tokens, batch):
        return super().vector(tokens, batch) * (np.nan if len(tokens) == 1 else 1)
"""),
        "caught": {
            "test_vectors_equal_the_reference[llama]",
            "test_normalised_vectors_have_length_1[llama]",
            "test_padding_changes_nothing[llama]",
            "test_order_changes_nothing[llama]",
            "test_has_a_passing_test[embed]",
        },
    },
}


@pytest.mark.parametrize("name", FLAWS)
def test_the_flaw_is_caught_by(findings: Any, name: str) -> None:
    assert set(findings[name]) == FLAWS[name].get("caught", set()), findings[name]
