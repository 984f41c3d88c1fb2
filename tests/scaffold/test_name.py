from __future__ import annotations

import keyword
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.contract import ConfigurationError, DuplicateProviderError
from sagellm_core.providers import PluginEntry
from sagellm_core.providers.naming import name_problem
from sagellm_core.scaffold import check_free, check_name


def test_what_follows_from_a_name() -> None:
    name = check_name("my-npu_2")
    assert name.dist == "sagellm-my-npu-2"
    assert name.package == "sagellm_my_npu_2"
    assert name.node == "my_npu_2"
    assert name.class_prefix == "MyNpu2"
    assert name.variable == "MY_NPU_2_VISIBLE_DEVICES"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("auto", "reserved", "another"),
        ("none", "reserved", "another"),
        ("mock", "reserved", "another"),
        ("cpu", "reserved", "another"),
        ("torch", "reserved", "another"),
        ("core", "reserved", "another"),
        ("Orbit", "not valid", "Did you mean 'orbit'?"),
        ("orbit 2", "not valid", "Did you mean 'orbit-2'?"),
        ("orbit--2", "not valid", "Did you mean 'orbit-2'?"),
        ("orbit-", "not valid", "Did you mean 'orbit'?"),
        ("orbit/../x", "not valid", "Did you mean 'orbit-x'?"),
        ("2orbit", "not valid", "lower-case"),
        ("", "not valid", "lower-case"),
        ("öбит", "not valid", "lower-case"),
        ("orbit\n", "not valid", "Did you mean 'orbit'?"),
        ("sagellm-orbit", "put before it", "'orbit'"),
        ("sagellm_orbit", "put before it", "'orbit'"),
        ("sagellm-", "put before it", "lower-case"),
        ("o" * 41, "longer than 40", "lower-case"),
    ],
)
def test_a_bad_name_is_refused_with_what_to_do(text: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_name(text)
    assert said in caught.value.message
    assert hint in caught.value.hint


@given(st.one_of(st.text(max_size=50), st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True)))
def test_a_name_that_passes_is_one_everywhere(text: str) -> None:
    try:
        name = check_name(text)
    except ConfigurationError:
        return
    assert name_problem(name.backend) == ""
    assert name.package.isidentifier()
    assert not keyword.iskeyword(name.package)
    assert name.class_prefix.isidentifier()
    # https://packaging.python.org/en/latest/specifications/name-normalization/
    assert name.dist == re.sub(r"[-_.]+", "-", name.dist).lower()


def entry(name: str, dist: str) -> PluginEntry:
    return PluginEntry(name=name, module="m", dist=dist, version="3.1", group="sagellm.plugins.v1")


@pytest.mark.parametrize(
    "installed",
    [
        entry("orbit-2", "orbit-for-sagellm"),
        entry("orbit_2", "orbit-for-sagellm"),
        entry("other", "sagellm_orbit-2"),
    ],
)
def test_a_taken_name_is_refused_with_who_has_it(installed: PluginEntry) -> None:
    with pytest.raises(DuplicateProviderError) as caught:
        check_free(check_name("orbit-2"), [entry("far", "sagellm-far"), installed])
    assert f"{installed.dist} 3.1" in caught.value.message
    assert f"pip uninstall {installed.dist}" in caught.value.hint


def test_a_package_of_that_name_is_refused(plugin_site: object) -> None:
    (plugin_site.path / "sagellm_orbit.py").write_text("raise SystemExit('imported')")  # type: ignore[attr-defined]
    with pytest.raises(DuplicateProviderError, match="sagellm_orbit"):
        check_free(check_name("orbit"), [])


def test_a_free_name_passes() -> None:
    check_free(check_name("orbit"), [entry("far", "sagellm-far")])
