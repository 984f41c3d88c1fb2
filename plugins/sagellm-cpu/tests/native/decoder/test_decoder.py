"""The native decoder beside the kit's own, over all that a config can ask for."""

from __future__ import annotations

import pytest
import torch
from sagellm_torch.architecture import LayerConfig, RopeConfig, RopeKind

_TWO_ROPES = tuple(
    RopeConfig(kind=RopeKind.DEFAULT, theta=theta, rotary_dim=24) for theta in (1e4, 1e2)
)
CASES = {
    "llama": {},
    "tied": {"tie_word_embeddings": True},
    "biases": {"qkv_bias": True, "output_bias": True, "mlp_bias": True},
    "multi-head": {"num_kv_heads": 4},
    "multi-query": {"num_kv_heads": 1},
    "wide heads": {
        "head_dim": 80,
        "ropes": (RopeConfig(kind=RopeKind.DEFAULT, theta=1e4, rotary_dim=80),),
    },
    "partial rotary": {"ropes": (RopeConfig(kind=RopeKind.DEFAULT, theta=1e4, rotary_dim=10),)},
    "qk norm": {"qk_norm": True},
    "windows and ropes": {
        "layers": (
            LayerConfig(sliding_window=9),
            LayerConfig(rope=1),
            LayerConfig(sliding_window=130),
        ),
        "ropes": _TWO_ROPES,
    },
    "caps": {"attention_softcap": 5.0, "logit_softcap": 8.0},
    "sandwich": {"sandwich_norms": True, "embedding_scale": 8.0, "tie_word_embeddings": True},
    "gelu": {"activation": "gelu"},
    "gelu tanh": {"activation": "gelu_pytorch_tanh"},
    "relu": {"activation": "relu"},
    "odd sizes": {"hidden_size": 70, "intermediate_size": 101, "vocab_size": 203},
}


def _answers(model, decoder, steps, tokens) -> list[torch.Tensor]:
    """Logits of a prompt in chunks beside others, and of a few tokens after it."""
    made = steps(model.config, 4)
    seen = [
        decoder.prefill(made.prefill({0: tokens(70), 1: tokens(5, 1)}, [69, 74]), made.cache),
        decoder.prefill(made.prefill({0: tokens(90, 2), 2: tokens(1, 3)}), made.cache),
    ]
    for i in range(4):
        step = made.decode({0: 11 + i, 2: 50 + i, 1: 90 + i})
        seen.append(decoder.decode(step, made.cache))
    seen.append(decoder.decode(made.decode({0: 5}), made.cache))
    step = made.prefill({3: tokens(40), 0: tokens(3)}, [2, 41])
    seen.append(decoder.hidden_states(step, made.cache))
    return seen


@pytest.mark.parametrize("case", CASES)
def test_it_computes_what_the_eager_decoder_does(case, random_model, steps, tokens) -> None:
    model = random_model(**CASES[case])
    expected = _answers(model, model.eager, steps, tokens)
    found = _answers(model, model.native(), steps, tokens)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)
        assert torch.equal(one.argmax(-1), other.argmax(-1))


@pytest.mark.parametrize("case", ["llama", "tied", "sandwich"])
def test_int8_arithmetic_stays_near(case, random_model, steps, tokens) -> None:
    model = random_model(**CASES[case])
    expected = _answers(model, model.eager, steps, tokens)
    found = _answers(model, model.native(codes=True), steps, tokens)
    for one, other in zip(found, expected, strict=True):
        assert torch.cosine_similarity(one, other).mean() > 0.98


@pytest.mark.parametrize("codes", [False, True], ids=["floats", "int8"])
@pytest.mark.parametrize("case", ["llama", "windows and ropes", "sandwich"])
def test_a_row_depends_on_its_sequence_alone(case, codes, random_model, steps, tokens) -> None:
    """Not on how it is cut, on what is beside it, on blocks, nor on threads: bit for bit."""
    model = random_model(**CASES[case])
    prompt = tokens(700)

    def run(threads, block_size, cuts, beside) -> list[torch.Tensor]:
        decoder = model.native(threads, codes=codes)
        made = steps(model.config, 10, block_size)
        rows = []
        for begin, end in zip((0, *cuts), (*cuts, len(prompt)), strict=True):
            step = made.prefill({**{i: tokens(31, i) for i in beside}, 4: prompt[begin:end]})
            rows.append(decoder.prefill(step, made.cache)[-(end - begin) :])
        for i in range(3):
            step = made.decode({**dict.fromkeys(beside, i), 4: 7 + i})
            rows.append(decoder.decode(step, made.cache)[-1:])
        return torch.cat(rows)

    whole = run(1, 4, (), ())
    assert torch.equal(run(3, 16, (), ()), whole)
    assert torch.equal(run(2, 1, (1, 2, 130, 131, 600), ()), whole)
    assert torch.equal(run(2, 4, (300,), (1, 8)), whole)
    assert torch.equal(run(2, 4, (699,), (1, 8, 2, 3, 0, 5, 6)), whole)


def test_steps_without_wanted_rows_write_the_cache(random_model, steps, tokens) -> None:
    model = random_model()
    decoder = model.native()
    made, other = steps(model.config, 1), steps(model.config, 1)
    assert decoder.prefill(made.prefill({0: tokens(20)}, []), made.cache) is None
    decoder.prefill(other.prefill({0: tokens(20)}), other.cache)
    after, plain = (decoder.decode(each.decode({0: 3}), each.cache) for each in (made, other))
    assert torch.equal(after, plain)


def test_caches_in_turn(random_model, steps, tokens) -> None:
    model = random_model()
    decoder = model.native()
    pair = steps(model.config, 1), steps(model.config, 1, 16)
    for each in pair:
        decoder.prefill(each.prefill({0: tokens(20)}), each.cache)
    first, second = (decoder.decode(each.decode({0: 3}), each.cache) for each in pair)
    assert torch.equal(first, second)
