"""The vectorised sampler against one row at a time in plain Python."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sagellm_torch.sampling import RowState, sample
from sagellm_torch.sampling.randomness import uniform

from sagellm_core.contract import InvalidSamplingError, SamplingParams


def _state(params: SamplingParams, vocab: int, prompt=(), output=()) -> RowState:
    state = RowState(params, vocab)
    state.observe([*prompt, *output], 0, len(prompt))
    return state


def _adjusted(logits: list[float], params: SamplingParams, prompt, output) -> list[float]:
    """Bias and penalties, token by token, as the contract words them."""
    values = list(logits)
    for token, amount in params.logit_bias.items():
        values[token] += amount
    for token in {*prompt, *output}:
        value = values[token]
        values[token] = (
            value / params.repetition_penalty if value > 0 else value * params.repetition_penalty
        )
    for token, count in Counter(output).items():
        values[token] -= params.presence_penalty + params.frequency_penalty * count
    return values


def _kept(values: list[float], params: SamplingParams) -> dict[int, float]:
    """Token -> probability among the tokens that may be drawn. Rejects near-ties at an edge."""
    highest = max(values)
    weights = {t: math.exp((v - highest) / params.temperature) for t, v in enumerate(values)}
    order = sorted(weights, key=lambda t: -values[t])
    if params.top_k:
        edge = values[order[min(params.top_k, len(order)) - 1]]
        order = [t for t in order if values[t] >= edge]
    total = sum(weights[t] for t in order)
    if params.top_p < 1:
        mass, chosen = 0.0, []
        for token in order:
            chosen.append(token)
            mass += weights[token] / total
            assume(abs(mass - params.top_p) > 1e-4)
            if mass > params.top_p:
                break
        edge = values[chosen[-1]]
        order = [t for t in order if values[t] >= edge]
    floor = params.min_p
    for token in order:
        assume(floor == 0 or abs(weights[token] - floor) > 1e-5)
    order = [t for t in order if weights[t] >= floor]
    total = sum(weights[t] for t in order)
    return {t: weights[t] / total for t in sorted(order)}


_params = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.3, 0.7, 1.0, 2.5]),
    top_k=st.sampled_from([0, 1, 2, 5, 40, 10_000]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.7]),
    presence_penalty=st.sampled_from([0.0, 0.5, -1.0]),
    frequency_penalty=st.sampled_from([0.0, 0.25, -0.5]),
    # Multiples of 1/64, exact in float32: a bias of 1e-9 breaks ties in the reference's float64
    # alone.
    logit_bias=st.dictionaries(
        st.integers(0, 29), st.integers(-320, 320).map(lambda n: n / 64), max_size=3
    ),
    seed=st.integers(0, 2**63 - 1),
)


@st.composite
def _rows(draw):
    """Logits with ties (multiples of 1/4), parameters, prompt and output of some rows."""
    vocab = draw(st.sampled_from([30, 700]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    spread = draw(st.sampled_from([2, 30]))
    count = draw(st.integers(1, 5))
    logits = torch.randint(-spread, spread, (count, vocab), generator=generator) / 4
    tokens = st.lists(st.integers(0, 29), max_size=6)
    return logits, [(draw(_params), draw(tokens), draw(tokens)) for _ in range(count)]


@settings(max_examples=150, deadline=None)
@given(_rows())
def test_equal_to_the_reference(rows) -> None:
    logits, requests = rows
    vocab = logits.shape[1]
    states = [_state(p, vocab, prompt, output) for p, prompt, output in requests]
    before = logits.clone()
    indices = [len(output) for _, _, output in requests]
    tokens = sample(logits, states, indices).tokens.tolist()
    assert torch.equal(logits, before)
    for row, (params, prompt, output) in enumerate(requests):
        values = _adjusted(logits[row].tolist(), params, prompt, output)
        if params.greedy:
            assert values[tokens[row]] >= max(values) - 1e-5
            continue
        kept = _kept(values, params)
        assert tokens[row] in kept
        # The draw is the inverse of the cumulative distribution in the vocabulary's order.
        number = uniform(params.seed, indices[row])
        below = sum(p for t, p in kept.items() if t < tokens[row])
        assert below - 1e-4 <= number <= below + kept[tokens[row]] + 1e-4


@settings(max_examples=60, deadline=None)
@given(_rows())
def test_a_row_does_not_depend_on_its_batch(rows) -> None:
    logits, requests = rows
    vocab = logits.shape[1]
    indices = list(range(len(requests)))
    together = sample(
        logits, [_state(p, vocab, a, b) for p, a, b in requests], indices
    ).tokens.tolist()
    alone = [
        sample(logits[i : i + 1], [_state(p, vocab, a, b)], [i]).tokens.item()
        for i, (p, a, b) in enumerate(requests)
    ]
    assert together == alone


def test_draws_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03])
    count = 8000
    states = [_state(SamplingParams(seed=seed), 5) for seed in range(count)]
    tokens = sample(probabilities.log().expand(count, 5), states, [0] * count).tokens
    found = torch.bincount(tokens, minlength=5) / count
    spread = (probabilities * (1 - probabilities) / count).sqrt()
    assert ((found - probabilities).abs() < 4 * spread).all()


def test_steps_of_one_request_are_independent_draws() -> None:
    state = _state(SamplingParams(seed=7), 2)
    count = 4000
    tokens = sample(torch.zeros(count, 2), [state] * count, range(count)).tokens
    pairs = Counter(zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True))
    assert all(abs(pairs[a, b] / count - 0.25) < 0.03 for a in (0, 1) for b in (0, 1))


@pytest.mark.parametrize("temperature", [1e-300, 1e-20, 1e20, 1e300])
def test_extreme_temperatures(temperature: float) -> None:
    logits = torch.tensor([[1.0, 90.0, -80.0, 5.0]])
    states = [_state(SamplingParams(temperature=temperature, seed=s), 4) for s in range(64)]
    tokens = set(sample(logits.expand(64, 4), states, [0] * 64).tokens.tolist())
    assert tokens == ({1} if temperature < 1 else {0, 1, 2, 3})


def test_logprobs_are_of_the_plain_distribution() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    states = [
        _state(SamplingParams(temperature=0, logprobs=2, logit_bias={0: 50.0}), 3),
        _state(SamplingParams(temperature=0), 3),
        _state(SamplingParams(temperature=0.01, seed=1, logprobs=0), 3),
    ]
    sampled = sample(logits, states, [0, 0, 0])
    tokens = sampled.tokens.tolist()
    assert tokens == [0, 2, 0]
    assert sampled.logprobs is not None
    found = sampled.logprobs.listed(tokens)
    assert sorted(found) == [0, 2]
    plain = logits.log_softmax(-1)
    assert found[0].token_id == 0
    assert found[0].logprob == pytest.approx(plain[0, 0].item(), abs=1e-6)
    assert [token for token, _ in found[0].top] == [2, 1]
    assert found[0].top[0][1] == pytest.approx(plain[0, 2].item(), abs=1e-6)
    assert found[2].top == ()
    assert found[2].logprob == pytest.approx(plain[2, 0].item(), abs=1e-6)


def test_sampled_tokens_are_counted() -> None:
    state = _state(SamplingParams(temperature=0, frequency_penalty=1.0), 3)
    logits = torch.tensor([[2.0, 1.5, 0.0]])
    assert [sample(logits, [state], [i]).tokens.item() for i in range(5)] == [0, 1, 0, 1, 0]


def test_a_bias_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(InvalidSamplingError, match="token 12; the model has 12"):
        _state(SamplingParams(logit_bias={3: 1.0, 12: 1.0}), 12)


def test_random_numbers_are_the_same_everywhere() -> None:
    # Worked out once from the definition of SplitMix64; another machine must agree.
    assert uniform(0, 0) == 0.8833108082136426
    assert uniform(0, 1) == 0.43152799704850997
    assert uniform(2**63 - 1, 12345) == 0.390449276096938


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6))
def test_random_numbers_are_in_range(seed: int, index: int) -> None:
    assert 0.0 <= uniform(seed, index) < 1.0
