from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sagellm_core.contract import BlockAccountingError
from sagellm_core.engine.blocks import BlockPool


def test_allocating_and_releasing_comes_back_to_the_start() -> None:
    pool = BlockPool(8, 16)
    blocks = pool.allocate("a", 3) + pool.allocate("a", 2)
    assert len(set(blocks)) == 5
    assert (pool.free_count, pool.used_count) == (3, 5)
    pool.release("a", blocks)
    assert (pool.free_count, pool.used_count) == (8, 0)


@pytest.mark.parametrize(("tokens", "blocks"), [(0, 0), (1, 1), (16, 1), (17, 2)])
def test_blocks_for_rounds_up(tokens: int, blocks: int) -> None:
    assert BlockPool(8, 16).blocks_for(tokens) == blocks


@pytest.mark.parametrize("count", [9, 1_000_000_000, -1])
def test_over_budget_raises_and_changes_nothing(count: int) -> None:
    pool = BlockPool(8, 16)
    with pytest.raises(BlockAccountingError, match=r"8 of 8|-1"):
        pool.allocate("a", count)
    assert pool.free_count == 8


def test_double_free_raises() -> None:
    pool = BlockPool(4, 16)
    blocks = pool.allocate("a", 2)
    pool.release("a", blocks)
    with pytest.raises(BlockAccountingError, match="freed twice"):
        pool.release("a", blocks)
    assert pool.free_count == 4


def test_one_block_named_twice_is_a_double_free() -> None:
    pool = BlockPool(4, 16)
    first, _ = pool.allocate("a", 2)
    with pytest.raises(BlockAccountingError, match="freed twice"):
        pool.release("a", [first, first])
    assert pool.free_count == 2


@pytest.mark.parametrize("block", [4, -1, 10**9])
def test_a_foreign_block_raises(block: int) -> None:
    pool = BlockPool(4, 16)
    pool.allocate("a", 1)
    with pytest.raises(BlockAccountingError, match="foreign"):
        pool.release("a", [block])


@pytest.mark.parametrize("block", [True, "0", 1.0, None])
def test_what_is_no_number_is_no_block(block: object) -> None:
    pool = BlockPool(4, 16)
    pool.allocate("a", 2)
    with pytest.raises(BlockAccountingError, match="not a KV block"):
        pool.release("a", [block])  # type: ignore[list-item]


def test_a_block_of_somebody_else_raises() -> None:
    pool = BlockPool(4, 16)
    pool.allocate("a", 1)
    theirs = pool.allocate("b", 1)
    with pytest.raises(BlockAccountingError, match="another sequence"):
        pool.release("a", theirs)


def test_fewer_blocks_than_held_is_a_size_mismatch() -> None:
    pool = BlockPool(4, 16)
    blocks = pool.allocate("a", 3)
    with pytest.raises(BlockAccountingError, match=r"2 KV blocks .* holds 3"):
        pool.release("a", blocks[:2])
    assert pool.free_count == 1


@pytest.mark.parametrize("sizes", [(0, 16), (4, 0), (-1, 16), (True, 16), (4, 1.5)])
def test_a_pool_without_blocks_is_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(BlockAccountingError, match="holds nothing"):
        BlockPool(*sizes)


def test_a_kept_block_is_free_and_can_be_shared_until_its_room_is_needed() -> None:
    gone: list[int] = []
    pool = BlockPool(4, 16, gone.append)
    blocks = pool.allocate("a", 3)
    for block in blocks[:2]:
        pool.keep(block)
    pool.release("a", blocks)
    assert (pool.free_count, pool.idle_count) == (4, 2)
    pool.share("b", blocks[:1])
    assert (pool.free_count, pool.idle_count) == (3, 1)
    assert gone == []
    assert set(pool.allocate("c", 3)) == {0, 1, 2, 3} - {blocks[0]}
    assert gone == [blocks[1]]


def test_the_longest_unused_goes_first_and_of_a_sequence_its_end() -> None:
    gone: list[int] = []
    pool = BlockPool(4, 16, gone.append)
    first, second = pool.allocate("a", 2), pool.allocate("b", 2)
    for block in first + second:
        pool.keep(block)
    pool.release("a", first)
    pool.release("b", second)
    pool.share("c", first)
    pool.release("c", first)
    pool.allocate("d", 4)
    assert gone == [second[1], second[0], first[1], first[0]]


def test_a_shared_block_is_free_once_the_last_owner_gives_it_back() -> None:
    pool = BlockPool(2, 16)
    (block,) = pool.allocate("a", 1)
    pool.keep(block)
    pool.share("b", [block])
    pool.release("a", [block])
    assert (pool.owned(block), pool.free_count) == (True, 1)
    with pytest.raises(BlockAccountingError, match="another sequence"):
        pool.release("a", [block])
    pool.release("b", [block])
    with pytest.raises(BlockAccountingError, match="freed twice"):
        pool.release("b", [block])
    assert pool.free_count == 2


def test_what_cannot_be_shared_is_refused() -> None:
    pool = BlockPool(4, 16)
    kept, other = pool.allocate("a", 2)
    pool.keep(kept)
    for blocks, said in (([other], "nothing to share"), ([3], "nothing to share"), ([9], "foreign"),
                         ([kept, kept], "shared twice")):  # fmt: skip
        with pytest.raises(BlockAccountingError, match=said):
            pool.share("b", blocks)
    with pytest.raises(BlockAccountingError, match="shared twice"):
        pool.share("a", [kept])
    with pytest.raises(BlockAccountingError, match="is free"):
        pool.keep(3)
    assert pool.used_count == 2


class PoolMachine(RuleBasedStateMachine):
    """The pool against a plain model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.findable: set[int] = set()
        self.pool = BlockPool(12, 4, self.findable.remove)
        self.held: dict[str, list[int]] = {}

    @rule(owner=st.sampled_from("abc"), count=st.integers(0, 14))
    def allocate(self, owner: str, count: int) -> None:
        if count > self.pool.free_count:
            with pytest.raises(BlockAccountingError):
                self.pool.allocate(owner, count)
        else:
            self.held.setdefault(owner, []).extend(self.pool.allocate(owner, count))

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        owned = sorted({block for blocks in self.held.values() for block in blocks})
        block = data.draw(st.sampled_from(owned))
        self.pool.keep(block)
        self.findable.add(block)

    @precondition(lambda self: self.findable)
    @rule(owner=st.sampled_from("abc"), data=st.data())
    def share(self, owner: str, data: st.DataObject) -> None:
        blocks = data.draw(st.lists(st.sampled_from(sorted(self.findable)), unique=True))
        held = self.held.setdefault(owner, [])
        if set(blocks) & set(held):
            with pytest.raises(BlockAccountingError):
                self.pool.share(owner, blocks)
        else:
            self.pool.share(owner, blocks)
            held.extend(blocks)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(sorted(name for name in self.held if self.held[name])))
        blocks = data.draw(st.permutations(self.held.pop(owner)))
        self.pool.release(owner, blocks)

    @rule(owner=st.sampled_from("abc"), blocks=st.lists(st.integers(-2, 13), max_size=4))
    def release_anything(self, owner: str, blocks: list[int]) -> None:
        if sorted(blocks) == sorted(self.held.get(owner, [])):
            return
        free = self.pool.free_count
        with pytest.raises(BlockAccountingError):
            self.pool.release(owner, blocks)
        assert self.pool.free_count == free

    @invariant()
    def adds_up(self) -> None:
        everything = {block for blocks in self.held.values() for block in blocks}
        assert self.pool.free_count == 12 - len(everything)
        assert self.pool.used_count == len(everything)
        assert self.pool.idle_count == len(self.findable - everything)
        assert all(self.pool.owned(block) == (block in everything) for block in range(12))


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
