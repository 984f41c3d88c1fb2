"""The order among candidates."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.contract import (
    DeviceClass,
    DeviceInfo,
    DeviceState,
    LoadAnswer,
    LoadVerdict,
    PluginInfo,
)
from sagellm_core.providers import Candidate, Controls, PluginEntry, ProbeReport
from sagellm_core.providers.ranking import candidates, rank

YES = LoadAnswer(verdict=LoadVerdict.YES, bytes_needed=50)
UNKNOWN = LoadAnswer(verdict=LoadVerdict.UNKNOWN, reason="must try")
NO = LoadAnswer(verdict=LoadVerdict.NO, reason="mamba is not supported")


def candidate(
    name: str,
    device: str = "dev:0",
    *,
    kind: DeviceClass = DeviceClass.ACCELERATOR,
    answer: LoadAnswer | None = YES,
    priority: int = 0,
    free: int | None = 100,
    physical: str = "",
) -> Candidate:
    return Candidate(
        entry=PluginEntry(name, f"{name}_m", f"sagellm-{name}", "1.0", "sagellm.plugins.v1"),
        info=PluginInfo(name=name, vendor="", device_class=kind, priority=priority),
        device=DeviceInfo(
            id=device, state=DeviceState.USABLE, memory_free=free, physical_id=physical
        ),
        answer=answer,
    )


def order(found: list[Candidate], controls: Controls = Controls()) -> list[str]:  # noqa: B008
    return [each.title for each in rank(found, controls) if each.rejection is None]


# Each pair differs in one key, and in every later key the worse one is better.
PAIRS = [
    (
        candidate("z", answer=YES, kind=DeviceClass.CPU, free=1),
        candidate("a", answer=UNKNOWN, priority=9),
    ),
    (
        candidate("z", kind=DeviceClass.ACCELERATOR, free=1),
        candidate("a", kind=DeviceClass.CPU, priority=9),
    ),
    (candidate("first", free=1), candidate("a", priority=9)),
    (candidate("z", free=60), candidate("a", priority=9, free=None)),
    (candidate("z", free=None), candidate("a", priority=9, free=40)),
    (candidate("z", priority=1, free=60), candidate("a", priority=0, free=70)),
    (candidate("z", free=70), candidate("a", free=60)),
    (candidate("a", free=60), candidate("b", free=60)),
    (candidate("a", "npu:9"), candidate("a", "npu:10")),
]
REASONS = [
    "cannot tell",
    "accelerator before cpu",
    "SAGELLM_DEVICE_ORDER",
    "known to fit",
    "needs 50 bytes and has 40",
    "priority 1 before 0",
    "70 bytes free before 60",
    "by name",
    "by name",
]


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [(*pair, reason) for pair, reason in zip(PAIRS, REASONS, strict=True)],
)
def test_each_key_counts_only_where_all_before_it_are_equal(
    better: Candidate, worse: Candidate, reason: str
) -> None:
    controls = Controls(device_order=("first",))
    ranked = rank([worse, better], controls)
    assert [each.title for each in ranked] == [better.title, worse.title]
    assert [each.rank for each in ranked] == [1, 2]
    assert reason in ranked[1].note


def test_unknown_memory_comes_after_known_memory() -> None:
    ask = replace(YES, bytes_needed=None)
    found = [candidate("a", free=None, answer=ask), candidate("z", free=0, answer=ask)]
    assert order(found) == ["z on dev:0", "a on dev:0"]


@pytest.mark.parametrize(
    ("wish", "first"),
    [
        ("b", "b on npu:1"),
        ("b:npu:1", "b on npu:1"),
        ("npu", "npu on npu:2"),
        ("npu:2", "npu on npu:2"),
        ("npu:1", "a on npu:0"),  # Only of the plugin named npu.
    ],
)
def test_the_users_order_names_plugins_or_devices(wish: str, first: str) -> None:
    found = [candidate("a", "npu:0"), candidate("b", "npu:1"), candidate("npu", "npu:2")]
    assert order(found, Controls(device_order=(wish, "a")))[0] == first


def test_the_users_order_does_not_put_a_cpu_before_an_accelerator() -> None:
    found = [candidate("cpu", kind=DeviceClass.CPU), candidate("gpu")]
    assert order(found, Controls(device_order=("cpu", "gpu")))[0] == "gpu on dev:0"


def test_two_claims_on_one_physical_device_are_explained() -> None:
    found = [candidate("a", physical="0000:01"), candidate("b", physical="0000:01", priority=1)]
    notes = [each.note for each in rank(found, Controls())]
    assert "a on dev:0 claims the same physical device (0000:01)" in notes[0]
    assert "b on dev:0 claims the same physical device (0000:01)" in notes[1]


found_lists = st.lists(
    st.builds(
        candidate,
        st.sampled_from("abcd"),
        st.sampled_from(["dev:0", "dev:1", "dev:10", "x"]),
        kind=st.sampled_from(DeviceClass),
        answer=st.sampled_from([YES, UNKNOWN, None]),
        priority=st.integers(-1, 1),
        free=st.sampled_from([None, 0, 49, 50, 1000]),
        physical=st.sampled_from(["", "p"]),
    ),
    max_size=8,
    unique_by=lambda each: each.title,
)
wishes = st.lists(st.sampled_from(["a", "b", "c:dev:1", "d:x"]), max_size=3).map(tuple)


@given(found_lists, wishes, st.randoms(use_true_random=False))
def test_no_permutation_changes_the_order(
    found: list[Candidate], wishes: tuple[str, ...], shuffler: random.Random
) -> None:
    controls = Controls(device_order=wishes)
    shuffled = list(found)
    shuffler.shuffle(shuffled)
    assert [each.title for each in rank(shuffled, controls)] == [
        each.title for each in rank(found, controls)
    ]


@given(found_lists, wishes)
def test_leaving_one_out_does_not_change_the_order_of_the_others(
    found: list[Candidate], wishes: tuple[str, ...]
) -> None:
    controls = Controls(device_order=wishes)
    titles = order(found, controls)
    for gone in titles:
        rest = [each for each in found if each.title != gone]
        assert order(rest, controls) == [title for title in titles if title != gone]


def report(kind: DeviceClass, state: DeviceState, answer: LoadAnswer | None) -> ProbeReport:
    entry = PluginEntry("p", "m", "sagellm-p", "1.0", "sagellm.plugins.v1")
    device = DeviceInfo(id="d", state=state, reason="no driver.", hint="Install it.")
    return ProbeReport(
        entry=entry,
        info=PluginInfo(name="p", vendor="", device_class=kind),
        devices=(device,),
        answers={} if answer is None else {"d": answer},
    )


@pytest.mark.parametrize(
    ("kind", "state", "answer", "by_name", "code"),
    [
        (DeviceClass.CPU, DeviceState.USABLE, YES, False, None),
        (DeviceClass.CPU, DeviceState.USABLE, UNKNOWN, False, None),
        (DeviceClass.CPU, DeviceState.USABLE, None, False, None),
        (DeviceClass.CPU, DeviceState.USABLE, NO, False, "cannot_load"),
        (DeviceClass.CPU, DeviceState.ABSENT, None, False, "no_device"),
        (DeviceClass.CPU, DeviceState.PRESENT_UNUSABLE, None, False, "present_unusable"),
        (DeviceClass.SIMULATED, DeviceState.USABLE, YES, False, "simulated"),
        (DeviceClass.SIMULATED, DeviceState.USABLE, YES, True, None),
    ],
)
def test_who_is_in_the_running(
    kind: DeviceClass,
    state: DeviceState,
    answer: LoadAnswer | None,
    by_name: bool,
    code: str | None,
) -> None:
    (only,) = candidates([report(kind, state, answer)], by_name=by_name)
    assert (only.rejection.code if only.rejection else None) == code
