"""CUDA_VISIBLE_DEVICES, value by value; and beside torch's own reading of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sagellm_cuda.gpu import GPU, Instance
from sagellm_cuda.visibility import VARIABLE, visible

UUIDS = (
    "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6",
    "GPU-8932aaaa-d72c-4106-c12f-20bd9faed9f6",
    "GPU-1234f937-d72c-4106-c12f-20bd9faed9f6",
)
GPUS = tuple(GPU(uuid=uuid, minor=number, capability=(9, 0)) for number, uuid in enumerate(UUIDS))


def _numbers(value: str | None, gpus: Sequence[GPU] = GPUS) -> list[int | None]:
    return [shown.gpu.minor for shown in visible(gpus, value).devices]


@pytest.mark.parametrize(
    ("value", "numbers", "cut_at"),
    [
        (None, [0, 1, 2], ""),
        ("0", [0], ""),
        ("2,1", [2, 1], ""),
        (" 1 , 0 ", [1, 0], ""),
        ("0,2,-1,1", [0, 2], "-1"),  # the programming guide's own example
        ("1,3,0", [1], "3"),
        ("1,,0", [1], ""),
        ("0,", [0], ""),
        ("1gpu,2", [1, 2], ""),  # numbers end where digits do
        ("+1", [1], ""),
        ("GPU-8932f937", [0], ""),
        (UUIDS[1], [1], ""),
        (f"{UUIDS[2]},{UUIDS[0]}", [2, 0], ""),
        (f"{UUIDS[2]},GPU-ffff,{UUIDS[0]}", [2], "GPU-ffff"),
        (f"{UUIDS[2]},GPU-8932,{UUIDS[0]}", [2], "GPU-8932"),  # it names two
        (f"{UUIDS[2]},0", [2], "0"),  # the first entry decides what all are
        (f"0,{UUIDS[2]}", [0], UUIDS[2]),
    ],
)
def test_lists(value, numbers, cut_at) -> None:
    seen = visible(GPUS, value)
    assert _numbers(value) == numbers
    assert (seen.hidden, seen.cut_at) == (None, cut_at)


@pytest.mark.parametrize("value", ["", " ", "-1", "-1,0", "NoDevFiles", "none", "void", ",0"])
def test_whoever_wants_no_gpu_gets_none(value) -> None:
    seen = visible(GPUS, value)
    assert (seen.devices, seen.deliberate) == ((), True)
    assert seen.hidden is not None
    assert VARIABLE in seen.hidden.reason
    assert VARIABLE in seen.hidden.hint


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("4", "'4'"),
        ("all", "'all'"),
        ("cuda:0", "'cuda:0'"),
        ("GPU-8932", "'GPU-8932'"),
        ("GPU-ffff,0", "'GPU-ffff'"),
        ("MIG-0000", "'MIG-0000'"),
    ],
)
def test_whoever_names_what_is_not_there_errs(value, named) -> None:
    known = (*GPUS, GPU(uuid="GPU-5", mig=True, instances=(Instance(uuid="MIG-5"),)))
    seen = visible(known, value)
    assert (seen.devices, seen.deliberate) == ((), False)
    assert seen.hidden is not None
    assert f"begins with {named}" in seen.hidden.reason
    assert "0 to 3" in seen.hidden.hint


@pytest.mark.parametrize("value", ["0,0", "1,0,1", "0,9,0", f"{UUIDS[0]},GPU-8932f"])
def test_a_gpu_named_twice_hides_every_gpu(value) -> None:
    seen = visible(GPUS, value)
    assert (seen.devices, seen.deliberate) == ((), False)
    assert seen.hidden is not None
    assert "twice" in seen.hidden.reason


def test_uuids_are_taken_at_their_word_where_nothing_tells_them() -> None:
    (alone,) = visible([GPU(name="L4", minor=0)], UUIDS[1]).devices
    assert (alone.physical_id, alone.gpu.name) == (UUIDS[1], "L4")
    several = visible([GPU(minor=0), GPU(minor=1)], f"{UUIDS[1]},{UUIDS[0]}").devices
    assert [each.physical_id for each in several] == [UUIDS[1], UUIDS[0]]
    (instance,) = visible([GPU(minor=0)], "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f").devices
    assert instance.physical_id == "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"


MIG = (
    GPU(
        uuid="GPU-a", minor=0, mig=True, instances=(Instance(uuid="MIG-1"), Instance(uuid="MIG-2"))
    ),
    GPU(uuid="GPU-b", minor=1),
)


@pytest.mark.parametrize(
    ("value", "physical"),
    [
        (None, "MIG-1"),
        ("MIG-2", "MIG-2"),
        ("MIG-2,MIG-1", "MIG-2"),
        ("0", "MIG-1"),
        ("1", "GPU-b"),
        ("1,0", "MIG-1"),
        ("GPU-b", "GPU-b"),
    ],
)
def test_of_instances_cuda_shows_one(value, physical) -> None:
    assert [shown.physical_id for shown in visible(MIG, value).devices] == [physical]


_ENTRIES = st.one_of(
    st.sampled_from([*UUIDS, "GPU-8932", "GPU-8932f", "GPU-", "MIG-", "", " ", "-1", "NoDevFiles"]),
    st.integers(-2, 5).map(str),
    st.text("0123+- abGPU", max_size=5),
)


@settings(deadline=None)  # the first example imports torch
@given(st.lists(_ENTRIES, max_size=5).map(",".join))
def test_any_value_is_read_as_torch_reads_it(value) -> None:
    """torch counts by its own reading of the variable and NVML's UUIDs."""
    numbers = _numbers(value)
    assert (not numbers) == (visible(GPUS, value).hidden is not None)
    assert numbers == _as_torch_reads(value)


def _as_torch_reads(value: str) -> list[int]:
    cuda = pytest.importorskip("torch").cuda
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, value)
        try:
            parsed = cuda._parse_visible_devices()
        except ValueError:  # a sign without a number is more than it can take
            reject()
    if parsed and isinstance(parsed[0], str):
        return cuda._transform_uuid_to_ordinals(parsed, list(UUIDS))
    counted = []
    for number in parsed:
        if number >= len(UUIDS):
            break
        counted.append(number)
    return counted
