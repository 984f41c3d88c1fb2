"""The mock's runner refuses what would corrupt a real cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sagellm_mock.kv import CacheFault
from sagellm_mock.runner import MockRunner

from sagellm_core.contract import (
    ConfigurationError,
    DecodeRow,
    EngineClosedError,
    InsufficientMemoryError,
    PrefillRow,
    Runner,
    RunnerConfig,
    SamplingParams,
    SlotStart,
)

GREEDY = SamplingParams(temperature=0, seed=0, ignore_eos=True)


@pytest.fixture
def runner(load_model: Callable[..., Any]) -> MockRunner:
    config = RunnerConfig(
        max_slots=4, max_model_len=64, block_size=4, num_blocks=16, max_prefill_tokens=12
    )
    return MockRunner(load_model(), config)


def begin(
    slot: int, tokens: list[int], blocks: tuple[int, ...], *, of: int | None = None, **more: Any
) -> PrefillRow:
    start = SlotStart(sampling=GREEDY, prompt_len=of or len(tokens), **more)
    return PrefillRow(
        slot=slot, token_ids=tokens, start=len(start.cached_token_ids), new_blocks=blocks,
        begin=start, sample=of is None,
    )  # fmt: skip


def tokens_of(handle: Any) -> list[int]:
    return list(handle.result().token_ids)


def test_it_is_a_runner(runner: MockRunner) -> None:
    assert isinstance(runner, Runner)
    assert (runner.capacity.num_blocks, runner.capacity.block_size) == (16, 4)


def test_the_table_may_be_scattered(runner: MockRunner) -> None:
    first = tokens_of(runner.prefill([begin(0, [1, 2, 3, 4, 5], (9, 2))]))
    again = tokens_of(runner.prefill([begin(1, [1, 2, 3, 4, 5], (4, 15))]))
    assert first == again
    rows = [DecodeRow(0), DecodeRow(1)]
    for _ in range(3):
        left, right = tokens_of(runner.decode(rows))
        assert left == right


def test_chunks_and_recompute_give_the_same_tokens(runner: MockRunner) -> None:
    whole = tokens_of(runner.prefill([begin(0, [1, 2, 3, 4, 5], (0, 1))]))
    assert tokens_of(runner.prefill([begin(1, [1, 2], (2,), of=5)])) == [-1]
    rest = PrefillRow(slot=1, token_ids=[3, 4, 5], start=2, new_blocks=(3,))
    assert tokens_of(runner.prefill([rest])) == whole
    following = tokens_of(runner.decode([DecodeRow(0)]))
    both = [1, 2, 3, 4, 5, *whole]
    anew = PrefillRow(
        slot=2, token_ids=both, start=0, new_blocks=(4, 5),
        begin=SlotStart(sampling=GREEDY, prompt_len=5),
    )  # fmt: skip
    assert tokens_of(runner.prefill([anew])) == following


def test_a_cached_prefix_is_read_from_its_blocks(runner: MockRunner) -> None:
    whole = tokens_of(runner.prefill([begin(0, [1, 2, 3, 4, 5], (0, 1))]))
    cached = PrefillRow(
        slot=1, token_ids=[5], start=4, new_blocks=(0, 2),
        begin=SlotStart(sampling=GREEDY, prompt_len=5, cached_token_ids=(1, 2, 3, 4)),
    )  # fmt: skip
    assert tokens_of(runner.prefill([cached])) == whole
    tokens_of(runner.decode([DecodeRow(0), DecodeRow(1)]))


def test_a_lost_block_changes_the_answer_or_raises(runner: MockRunner) -> None:
    runner.prefill([begin(0, [1, 2, 3, 4, 5], (0, 1))])
    runner.prefill([begin(1, [7, 7], (0,))])  # block 0 went to another sequence
    with pytest.raises(CacheFault, match="belongs to another slot"):
        runner.decode([DecodeRow(0)])
    tokens_of(runner.decode([DecodeRow(1)]))


FAULTS: dict[str, tuple[list[PrefillRow], str]] = {
    "no rows": ([], "without rows"),
    "no tokens": ([begin(0, [], (0,), of=1)], "without tokens"),
    "too few blocks": ([begin(0, [1] * 5, (0,))], "too few"),
    "no such block": ([begin(0, [1], (16,))], "there are 0 to 15"),
    "negative block": ([begin(0, [1], (-1,))], "there are 0 to 15"),
    "not a block": ([begin(0, [1], ("0",))], "no block"),  # type: ignore[arg-type]
    "twice in a row": ([begin(0, [1] * 5, (3, 3))], "given twice"),
    "twice in a call": ([begin(0, [1], (3,)), begin(1, [1], (3,))], "given twice"),
    "slot twice": ([begin(0, [1], (3,)), begin(0, [1], (4,))], "stands twice"),
    "no such slot": ([begin(4, [1], (3,))], "slot 4 does not exist"),
    "never begun": ([PrefillRow(slot=1, token_ids=[1], start=0, new_blocks=(0,))], "never begun"),
    "over the budget": ([begin(0, [1] * 13, (0, 1, 2, 3))], "13 tokens in one prefill, over 12"),
    "wrong prefix": ([begin(0, [1], (0, 1), cached_token_ids=(1, 2, 3, 4))], "gap"),
    "ragged prefix": ([begin(0, [1], (0, 1), cached_token_ids=(1, 2))], "ends in a block"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_prefills_raise(runner: MockRunner, fault: str) -> None:
    rows, said = FAULTS[fault]
    with pytest.raises(CacheFault, match=said):
        runner.prefill(rows)


def test_a_chunk_at_the_wrong_place_raises(runner: MockRunner) -> None:
    runner.prefill([begin(0, [1, 2], (0,), of=5)])
    with pytest.raises(CacheFault, match="holds 2 tokens, and its chunk starts at 3"):
        runner.prefill([PrefillRow(slot=0, token_ids=[1], start=3, new_blocks=())])


def test_a_slot_without_a_seed_raises(runner: MockRunner) -> None:
    start = SlotStart(sampling=SamplingParams(), prompt_len=1)
    row = PrefillRow(slot=0, token_ids=[1], start=0, new_blocks=(0,), begin=start)
    with pytest.raises(CacheFault, match="without a seed"):
        runner.prefill([row])


def test_wrong_decodes_raise(runner: MockRunner) -> None:
    with pytest.raises(CacheFault, match="never begun"):
        runner.decode([DecodeRow(0)])
    runner.prefill([begin(0, [1, 2], (0,), of=5)])
    with pytest.raises(CacheFault, match="before its prefill is over"):
        runner.decode([DecodeRow(0)])
    runner.prefill([begin(1, [1, 2, 3, 4], (1,))])
    with pytest.raises(CacheFault, match="too few"):
        runner.decode([DecodeRow(1)])


def test_a_closed_runner_raises(runner: MockRunner) -> None:
    runner.close()
    runner.close()
    with pytest.raises(EngineClosedError, match="closed"):
        runner.prefill([begin(0, [1], (0,))])


def test_the_cache_is_sized_by_memory(load_model: Any) -> None:
    config = RunnerConfig(max_slots=1, max_model_len=64, kv_memory_bytes=1000)
    assert MockRunner(load_model(), config).capacity.num_blocks == 15
    with pytest.raises(InsufficientMemoryError, match="10 bytes"):
        MockRunner(load_model(), RunnerConfig(max_slots=1, max_model_len=64, kv_memory_bytes=10))


def test_unasked_the_cache_holds_a_whole_context(load_model: Any) -> None:
    config = RunnerConfig(max_slots=2, max_model_len=100)
    assert MockRunner(load_model(), config).capacity.num_blocks == 14


def test_more_than_the_context_is_refused(load_model: Any) -> None:
    with pytest.raises(ConfigurationError, match="9000"):
        MockRunner(load_model(), RunnerConfig(max_slots=1, max_model_len=9000))
