from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.engine.stops import StopMatcher


def run(stops: Sequence[str], pieces: Sequence[str]) -> tuple[str, str | None]:
    matcher = StopMatcher(stops)
    text = ""
    for piece in pieces:
        more, found = matcher.push(piece)
        text += more
        if found is not None:
            return text, found
    return text + matcher.flush(), None


def test_a_stop_string_over_several_pieces() -> None:
    assert run(["STOP"], ["abS", "T", "", "OPxyz"]) == ("ab", "STOP")


def test_what_could_be_a_beginning_is_withheld_until_it_is_not() -> None:
    matcher = StopMatcher(["\n\nUser:"])
    assert matcher.push("Hi\n") == ("Hi", None)
    assert matcher.push("\nUs") == ("", None)
    assert matcher.push("ual") == ("\n\nUsual", None)


def test_what_was_withheld_comes_at_the_end() -> None:
    matcher = StopMatcher(["END"])
    assert matcher.push("the EN") == ("the ", None)
    assert matcher.flush() == "EN"


def test_the_earliest_stop_wins_whatever_the_order_they_were_given_in() -> None:
    for stops in (["world", "lo"], ["lo", "world"]):
        assert run(stops, ["hello world"]) == ("hel", "lo")


def test_of_two_that_end_together_the_longer_wins() -> None:
    assert run(["b", "aab"], ["xaab"]) == ("x", "aab")


def test_a_match_that_restarts_within_itself() -> None:
    assert run(["aab"], list("aaaab")) == ("aa", "aab")


def reference(stops: Sequence[str], text: str) -> tuple[str, str | None]:
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


@given(
    stops=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
    pieces=st.lists(st.text("abc", max_size=5), max_size=8),
)
def test_the_answer_does_not_depend_on_the_pieces(stops: list[str], pieces: list[str]) -> None:
    assert run(stops, pieces) == reference(stops, "".join(pieces))


@given(
    stops=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
    pieces=st.lists(st.text("abc", max_size=5), max_size=8),
)
def test_nothing_of_a_stop_string_is_ever_given_away(stops: list[str], pieces: list[str]) -> None:
    matcher = StopMatcher(stops)
    given_away = ""
    whole, _ = reference(stops, "".join(pieces))
    for piece in pieces:
        more, found = matcher.push(piece)
        given_away += more
        assert whole.startswith(given_away)
        if found is not None:
            return


@pytest.mark.parametrize("count", [20_000])
def test_a_very_long_stop_string_is_no_trap(count: int) -> None:
    stop = "a" * count + "b"
    assert run([stop], ["a" * count] * 3 + ["b"]) == ("a" * (2 * count), stop)
