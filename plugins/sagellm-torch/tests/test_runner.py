"""Slots, blocks and errors of the runner."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from sagellm_torch import DenseLinear, DeviceAdapter, open_runner

from sagellm_core.contract import (
    BlockAccountingError,
    ConfigurationError,
    DecodeRow,
    DeviceOutOfMemoryError,
    EngineClosedError,
    InvalidSamplingError,
    PrefillRow,
    Runner,
    RunnerConfig,
    RunnerError,
    SamplingParams,
    SlotStart,
)

GREEDY = SamplingParams(temperature=0, seed=0)


@pytest.fixture(scope="module")
def tiny(tiny_model):
    return tiny_model("llama")


@pytest.fixture(scope="module")
def model(tiny, load):
    return load(tiny.path)


def _row(slot: int, tokens, blocks, *, start: int = 0, sampling=GREEDY, cached=(), **changes):
    begin = SlotStart(
        sampling=sampling, prompt_len=len(cached) + len(tokens), cached_token_ids=tuple(cached)
    )
    return PrefillRow(
        **{
            "slot": slot,
            "token_ids": tokens,
            "start": start,
            "new_blocks": tuple(blocks),
            "begin": begin,
            **changes,
        }
    )


@pytest.fixture
def runner(model):
    runner = open_runner(
        model, RunnerConfig(max_slots=4, max_model_len=64, block_size=4, num_blocks=40)
    )
    yield runner
    runner.close()


def test_it_is_a_runner(runner) -> None:
    assert isinstance(runner, Runner)
    assert (runner.capacity.num_blocks, runner.capacity.block_size) == (40, 4)
    # 3 layers, keys and values, 4 tokens, 2 heads of 16, float32.
    assert runner.capacity.bytes_per_block == 3 * 2 * 4 * 2 * 16 * 4
    assert runner.max_slots == 4


def test_a_cached_prefix_is_not_computed_again(tiny, runner, prompts) -> None:
    (prompt,) = prompts([19])
    expected = tiny.greedy(prompt, 1)
    runner.prefill([_row(0, prompt[:8], (7, 3))])
    # Another slot takes the two full blocks over and prefills only the rest.
    row = _row(1, prompt[8:], (7, 3, 9, 30, 12), start=8, cached=prompt[:8])
    assert list(runner.prefill([row]).result().token_ids) == expected


def test_a_cached_prefix_counts_for_penalties(tiny, model, drive, prompts) -> None:
    (prompt,) = prompts([12])
    params = SamplingParams(temperature=0, seed=0, repetition_penalty=50.0)
    whole = drive(model, block_size=4)
    expected = whole.generate([prompt], 1, sampling=[params])[0]
    runner = drive(model, block_size=4).runner
    runner.prefill([_row(0, prompt[:8], (0, 1))])
    row = _row(1, prompt[8:], (0, 1, 2), start=8, cached=prompt[:8], sampling=params)
    assert list(runner.prefill([row]).result().token_ids) == expected
    assert expected[0] not in prompt


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=0, seed=1),
        SamplingParams(temperature=1.5, seed=2),
        SamplingParams(temperature=1.2, top_k=20, top_p=0.9, seed=3, repetition_penalty=1.4),
        SamplingParams(temperature=0.9, seed=4, presence_penalty=1.0, frequency_penalty=0.7),
    ],
)
def test_a_preempted_sequence_goes_on_as_if_it_never_stopped(model, drive, prompts, params) -> None:
    (prompt,) = prompts([21])
    expected = drive(model).generate([prompt], 14, sampling=[params])[0]
    driver = drive(model, block_size=4)
    first = driver.start(prompt, params)
    driver.prefill([first])
    for _ in range(5):
        driver.decode([first])
    driver.finish(first)
    # Its blocks are used by another sequence before it comes back in two chunks.
    other = driver.start(prompts([40], seed=9)[0])
    driver.prefill([other])
    again = driver.start(first.tokens, params, resumed=len(first.output))
    while again.done < len(first.tokens):
        driver.prefill([again], 15)
    while len(again.output) < 14:
        driver.decode([again, other])
    assert again.output == expected


def test_sampling_does_not_depend_on_the_batch(model, drive, prompts) -> None:
    batch = prompts([4, 9, 30, 17, 41])
    params = [
        SamplingParams(temperature=1.3, seed=5),
        SamplingParams(temperature=0, seed=0),
        SamplingParams(temperature=0.8, top_p=0.8, seed=5),
        SamplingParams(temperature=1.0, top_k=10, min_p=0.01, seed=6, frequency_penalty=1.0),
        SamplingParams(temperature=1.0, seed=7, logit_bias={5: 4.0}, repetition_penalty=1.2),
    ]
    together = drive(model).generate(batch, 12, chunk=8, sampling=params)
    alone = [
        drive(model).generate([prompt], 12, sampling=[one])[0]
        for prompt, one in zip(batch, params, strict=True)
    ]
    assert together == alone


def test_memory_that_was_never_written_does_not_matter(tiny, model, drive, prompts) -> None:
    batch = prompts([3, 30, 17])
    expected = [tiny.greedy(prompt, 9) for prompt in batch]
    driver = drive(model, block_size=16)
    for keys, values in driver.runner._cache.layers:
        keys.fill_(float("nan"))
        values.fill_(float("inf"))
    assert driver.generate(batch, 9, chunk=7) == expected


def test_blocks_may_be_given_ahead_of_need(tiny, runner, prompts) -> None:
    (prompt,) = prompts([6])
    runner.prefill([_row(2, prompt, range(20, 30))])
    tokens = [runner.decode([DecodeRow(2)]).result().token_ids[0] for _ in range(10)]
    assert tokens == tiny.greedy(prompt, 11)[1:]


def test_a_row_that_does_not_sample(tiny, runner, prompts) -> None:
    a, b = prompts([6, 7])
    rows = [_row(0, a[:4], (0,), sample=False), _row(1, b, (1, 2))]
    assert list(runner.prefill(rows).result().token_ids) == [-1, *tiny.greedy(b, 1)]
    rest = PrefillRow(slot=0, token_ids=a[4:], start=4, new_blocks=(3,))
    assert list(runner.prefill([rest]).result().token_ids) == tiny.greedy(a, 1)
    nothing = _row(2, a, (4, 5), sample=False)
    assert list(runner.prefill([nothing]).result().token_ids) == [-1]


def test_logprobs(tiny, runner, prompts) -> None:
    a, b = prompts([6, 9])
    params = SamplingParams(temperature=0, seed=0, logprobs=3)
    rows = [_row(0, a, (0, 1)), _row(1, b, (2, 3, 4), sampling=params)]
    result = runner.prefill(rows).result()
    assert result.logprobs is not None
    assert result.logprobs[0] is None
    found = result.logprobs[1]
    plain = tiny.logits(b)[-1].log_softmax(-1)
    best = plain.topk(3)
    assert [token for token, _ in found.top] == best.indices.tolist()
    assert [value for _, value in found.top] == pytest.approx(best.values.tolist(), abs=1e-4)
    assert (found.token_id, found.logprob) == pytest.approx(found.top[0], abs=1e-6)
    # The same handle may be read again.
    handle = runner.decode([DecodeRow(1)])
    assert handle.result() is handle.result()


_BAD_PREFILLS = {
    "a slot that does not exist": (RunnerError, _row(4, [3], (0,))),
    "a negative slot": (RunnerError, _row(-1, [3], (0,))),
    "a foreign block": (BlockAccountingError, _row(1, [3], (40,))),
    "a negative block": (BlockAccountingError, _row(1, [3], (-1,))),
    "too few blocks": (BlockAccountingError, _row(1, [3] * 9, (0, 1))),
    "more tokens than max_model_len": (RunnerError, _row(1, [3] * 65, range(17))),
    "too many blocks": (BlockAccountingError, _row(1, [3], range(17))),
    "no tokens": (RunnerError, _row(1, [], (0,))),
    "a token outside the vocabulary": (RunnerError, _row(1, [3, 199], (0,))),
    "a negative token": (RunnerError, _row(1, [-1], (0,))),
    "a gap after the cached prefix": (RunnerError, _row(1, [3], (0, 1), start=4)),
    "a chunk of no sequence": (RunnerError, _row(1, [3], (0,), begin=None)),
    "a foreign token in the bias": (
        InvalidSamplingError,
        _row(1, [3], (0,), sampling=SamplingParams(seed=0, logit_bias={199: 1.0})),
    ),
}


@pytest.mark.parametrize("case", _BAD_PREFILLS)
def test_a_wrong_prefill_is_refused_before_anything_changes(case, tiny, runner, prompts) -> None:
    error, row = _BAD_PREFILLS[case]
    (prompt,) = prompts([7])
    expected = tiny.greedy(prompt, 3)
    runner.prefill([_row(0, prompt, (10, 11))])
    other = _row(2, prompt, (12, 13))
    with pytest.raises(error) as caught:
        runner.prefill([other, row])
    assert caught.value.hint
    # The slot that was running goes on; the row beside the wrong one did not begin.
    assert runner.decode([DecodeRow(0)]).result().token_ids == [expected[1]]
    with pytest.raises(RunnerError, match="Slot 2 holds no sequence"):
        runner.decode([DecodeRow(2)])


def test_a_wrong_decode_is_refused(runner, prompts) -> None:
    (prompt,) = prompts([8])
    runner.prefill([_row(0, prompt, (0, 1)), _row(1, prompt, (2, 3), sample=False)])
    for rows, error in [
        ([DecodeRow(0)], BlockAccountingError),  # the ninth token needs a third block
        ([DecodeRow(0, (4,)), DecodeRow(0, (5,))], RunnerError),
        ([DecodeRow(1, (4,))], RunnerError),  # nothing was sampled there
        ([DecodeRow(3)], RunnerError),
        ([DecodeRow(7)], RunnerError),
    ]:
        with pytest.raises(error):
            runner.decode(rows)
    assert len(runner.decode([DecodeRow(0, (4,))]).result().token_ids) == 1


def test_closing_twice(model, prompts) -> None:
    runner = open_runner(model, RunnerConfig(max_slots=1, max_model_len=32, num_blocks=4))
    runner.close()
    runner.close()
    with pytest.raises(EngineClosedError):
        runner.prefill([_row(0, prompts([3])[0], (0,))])
    with pytest.raises(EngineClosedError):
        runner.decode([DecodeRow(0)])


def test_closing_gives_the_memory_back(tiny, load, prompts) -> None:
    model = load(tiny.path)
    runner = open_runner(model, RunnerConfig(max_slots=1, max_model_len=32, num_blocks=4))
    runner.prefill([_row(0, prompts([3])[0], (0,))])
    weights, keys = weakref.ref(model.decoder), weakref.ref(runner._cache.layers[0][0])
    runner.close()
    gc.collect()
    assert keys() is None
    model.close()
    gc.collect()
    assert weights() is None


def test_two_runners_over_one_model(tiny, model, drive, prompts) -> None:
    (prompt,) = prompts([11])
    one, two = drive(model), drive(model, block_size=4)
    expected = [tiny.greedy(prompt, 5)]
    assert one.generate([prompt], 5) == expected
    one.runner.close()
    assert two.generate([prompt], 5) == expected


def test_a_closed_model_opens_no_runner(tiny, load) -> None:
    model = load(tiny.path)
    model.close()
    model.close()
    with pytest.raises(EngineClosedError):
        open_runner(model, RunnerConfig(max_slots=1, max_model_len=32, num_blocks=4))


@pytest.mark.parametrize(
    "changes",
    [{"max_model_len": 513}, {"max_slots": 0}, {"block_size": 0}, {"num_blocks": 0}],
)
def test_a_configuration_that_cannot_be(model, changes) -> None:
    config = RunnerConfig(**{"max_slots": 1, "max_model_len": 32, "num_blocks": 4, **changes})
    with pytest.raises(ConfigurationError):
        open_runner(model, config)


class _ShortOfMemory(DeviceAdapter):
    """Allocations fail while ``failing`` is set, as the CPU allocator words it."""

    failing: RuntimeError | None = None

    def __init__(self) -> None:
        super().__init__("cpu")

    def linear(self, weight, bias, *, shared=False):
        dense = DenseLinear(weight, bias, shared=shared)
        outer = self

        class Failing:
            nbytes = dense.nbytes

            def __call__(self, x):
                if outer.failing is not None:
                    raise outer.failing
                return dense(x)

        return Failing()


def test_out_of_memory_is_typed_and_other_errors_pass(tiny, load, drive, prompts) -> None:
    adapter = _ShortOfMemory()
    model = load(tiny.path, adapter)
    driver = drive(model)
    sequence = driver.start(prompts([5])[0])
    driver.prefill([sequence])
    for text in (
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory",
        "CUDA out of memory. Tried to allocate 2 GiB",
    ):
        adapter.failing = RuntimeError(text)
        with pytest.raises(DeviceOutOfMemoryError) as caught:
            driver.decode([sequence])
        assert caught.value.__cause__ is adapter.failing
    adapter.failing = RuntimeError("the kernel is broken")
    with pytest.raises(RuntimeError, match="the kernel is broken"):
        driver.decode([sequence])


def test_the_cache_is_in_the_compute_type(tiny, plain_adapter) -> None:
    from sagellm_torch import load_model

    from sagellm_core.contract import LoadOptions
    from sagellm_core.models import describe

    model = load_model(describe(tiny.path), plain_adapter(), LoadOptions(dtype="bfloat16"))
    runner = open_runner(model, RunnerConfig(max_slots=1, max_model_len=32, num_blocks=2))
    assert runner._cache.layers[0][0].dtype is torch.bfloat16
    token = runner.prefill([_row(0, [5, 6, 7], (0,))]).result().token_ids[0]
    assert 0 <= token < 199
    runner.decode([DecodeRow(0)]).result()
