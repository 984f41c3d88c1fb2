"""The three variables, value by value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagellm_dcu.topology import DCU, HYGON
from sagellm_dcu.visibility import COMPATIBLE, HIP, RUNTIME, visible

#: The devices of the examples in ROCR-Runtime's amd_filter_device.h.
UUIDS = ("BABABABABABABABA", "ABBAABBAABBAABBA", "BABAABBAABBABABA", "ABBABABABABAABBA")
DCUS = tuple(
    DCU(vendor=HYGON, uuid=f"GPU-{uuid.lower()}", render=number)
    for number, uuid in enumerate(UUIDS)
)


def _numbers(**env: str) -> list[int | None]:
    return [device.render for device in visible(DCUS, env).devices]


def test_without_variables() -> None:
    assert _numbers() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        ("", []),
        ("-1", []),
        ("GPU-XX", []),
        ("3,GPU-BABABABABABABABA,4", [3, 0]),
        ("1,GPU-ABBAABBAABBAABBA,GPU-XX", [1]),  # the second is the first again, and ends it
        ("1,1,0", [1]),
        ("3,GPU-BABAABBA,GPU-XX", [3, 2]),
        ("GPU-BABA,1", []),  # it names two
        ("gpu-abbaabba", [1]),
        ("2, 1", [2, 1]),
    ],
)
def test_the_runtimes_variable(value, numbers) -> None:
    assert _numbers(**{RUNTIME: value}) == numbers


@pytest.mark.parametrize("variable", [HIP, COMPATIBLE])
@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        ("", []),
        ("-1", []),
        ("0", [0]),
        ("3,1", [3, 1]),
        ("1,1,0", [1, 0]),  # twice is once
        ("1,9,0", [1]),
        ("0,-1,1", [0]),
        ("1, 0", [1]),  # numbers stand without white space
        ("01", []),
        ("GPU-ABBAABBAABBAABBA", []),
    ],
)
def test_hips_variables(variable, value, numbers) -> None:
    assert _numbers(**{variable: value}) == numbers


@pytest.mark.parametrize(
    ("env", "numbers"),
    [
        ({HIP: "2", COMPATIBLE: "1"}, [2]),
        ({HIP: "", COMPATIBLE: "1"}, []),
        ({RUNTIME: "3,1", COMPATIBLE: "1"}, [1]),
        ({RUNTIME: "3,1", HIP: "1,0"}, [1, 3]),
        ({RUNTIME: "3,1", HIP: "2"}, []),
        ({RUNTIME: "", HIP: "0"}, []),
    ],
)
def test_one_counts_what_the_other_leaves(env, numbers) -> None:
    assert _numbers(**env) == numbers


@pytest.mark.parametrize(
    ("env", "deliberate"),
    [
        ({HIP: ""}, True),
        ({HIP: "-1"}, True),
        ({COMPATIBLE: "NoDevFiles"}, True),
        ({RUNTIME: ""}, True),
        ({HIP: "7"}, False),
        ({RUNTIME: "GPU-XX"}, False),
        ({RUNTIME: "3", HIP: "0,1"}, False),
    ],
)
def test_hiding_is_told_from_erring(env, deliberate) -> None:
    seen = visible(DCUS, env)
    assert seen.hidden is not None
    assert seen.deliberate == deliberate
    assert next(iter(env)) in seen.hidden.reason
    assert seen.hidden.hint


def test_lists_that_end_early_are_told() -> None:
    seen = visible(DCUS, {RUNTIME: "3,1,8", HIP: "1,5"})
    assert seen.cuts == ((f"{RUNTIME}='3,1,8'", "8"), (f"{HIP}='1,5'", "5"))


_VALUES = st.one_of(st.none(), st.text("01234-, GPUabx", max_size=8))


@given(runtime=_VALUES, hip=_VALUES, compatible=_VALUES)
def test_any_values_show_some_or_say_why_not(runtime, hip, compatible) -> None:
    given_values = {RUNTIME: runtime, HIP: hip, COMPATIBLE: compatible}
    seen = visible(DCUS, {name: value for name, value in given_values.items() if value is not None})
    assert bool(seen.devices) != (seen.hidden is not None)
    assert len(set(seen.devices)) == len(seen.devices)
