"""The quick judgement of version specifiers agrees with the packaging library's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from sagellm_core.providers.requirement import (
    core_is_too_old,
    core_specifiers,
    failing_clauses,
)

releases = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(
    lambda parts: ".".join(map(str, parts))
)
versions = st.one_of(
    releases,
    st.tuples(releases, st.sampled_from(["a1", "rc2", ".post1", ".dev3", "+local"])).map("".join),
)
clauses = st.one_of(
    st.tuples(st.sampled_from(["==", "!=", "<=", ">=", "<", ">"]), versions),
    st.tuples(st.sampled_from(["==", "!="]), releases.map(lambda text: f"{text}.*")),
    st.tuples(st.just("~="), releases.filter(lambda text: "." in text)),
).filter(lambda clause: "+" not in clause[1] or clause[0] in ("==", "!="))


@given(st.lists(clauses, max_size=4), versions)
def test_it_agrees_with_packaging(parts: list[tuple[str, str]], version: str) -> None:
    text = ", ".join(f"{sign} {wanted}" for sign, wanted in parts)
    satisfied = SpecifierSet(text).contains(version, prereleases=True)
    assert (not failing_clauses(text, version)) == satisfied


@pytest.mark.parametrize(
    ("requirements", "specifiers"),
    [
        (["sagellm-core>=0.1,<0.2", "torch>=2"], [">=0.1,<0.2"]),
        (["Sagellm_Core [hub] (>=0.1)"], [">=0.1"]),
        (["sagellm.core"], [""]),
        (["sagellm-core-extras>=9", "sagellm-corex>=9"], []),
        (['sagellm-core>=9; extra == "dev"'], []),
        (['sagellm-core>=9; python_version < "3"'], []),
        (['sagellm-core>=0.1; python_version >= "3"'], [">=0.1"]),
        (["sagellm-core>=0.1", "sagellm-core<3"], [">=0.1", "<3"]),
    ],
)
def test_requirements_on_core_are_found(requirements: list[str], specifiers: list[str]) -> None:
    assert core_specifiers(requirements) == specifiers


@pytest.mark.parametrize("text", ["sagellm-core>=0.1; python_version", "sagellm-core (>=1"])
def test_an_unreadable_requirement_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        core_specifiers([text])


def test_an_unreadable_specifier_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="newest"):
        failing_clauses("newest")


@pytest.mark.parametrize(
    ("specifier", "too_old"),
    [
        (">=2", True),
        (">1", True),
        ("<0.5", False),
        ("==2", True),
        ("==0.1", False),
        ("~=2.0", True),
    ],
)
def test_which_side_to_upgrade(specifier: str, too_old: bool) -> None:
    assert core_is_too_old(failing_clauses(specifier, "1.0"), "1.0") is too_old
