"""Group ``skew``: the plugin beside other versions of core."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sagellm_core.contract.version import CONTRACT_VERSION
from sagellm_core.providers.gates import contract_gate
from sagellm_core.providers.requirement import CORE_DIST, CORE_VERSION
from sagellm_core.testing.finding import fail, require
from sagellm_core.testing.marks import group
from sagellm_core.testing.other_core import OtherCore, admitted_cores
from sagellm_core.testing.subject import Subject

#: What a plugin may say about itself in a probe without being unfit for that core.
_FIT = frozenset(
    {"", "no_device", "present_unusable", "other_device", "simulated", "cannot_load"}
    | {"no_capability", "model_capability", "not_requested"}
)


def core_specifier(subject: Subject) -> str:
    """Which versions of core the plugin's distribution admits; empty: it does not say."""
    required = [each for each in re.split(r";\s*(?=sagellm)", subject.entry.requires_core) if each]
    return ",".join(str(Requirement(each).specifier) for each in required)


@group("skew")
class TestSkew:
    """``Requires-Dist`` and the contract's version."""

    def test_core_is_required_within_bounds(self, subject: Subject) -> None:
        """From a version on, and below another: a core that comes later may lack something."""
        specifier = core_specifier(subject)
        operators = {match[0] for match in re.finditer(r"[<>=~!]=?=?", specifier)}
        if not operators & {">=", ">", "==", "===", "~="}:
            fail(
                f"{subject.entry.dist} requires {CORE_DIST} {specifier or 'not at all'}: no lower "
                f"bound. Write, for example, {CORE_DIST}>={CORE_VERSION},<NEXT."
            )
        if not operators & {"<", "<=", "==", "===", "~="}:
            fail(
                f"{subject.entry.dist} requires {CORE_DIST} {specifier}: no upper bound. Write, "
                f"for example, {CORE_DIST}{specifier},<NEXT."
            )

    def test_the_contract_is_not_newer(self, subject: Subject) -> None:
        """The plugin was written for no newer contract than this core has."""
        contract = subject.info.contract
        rejection = contract_gate(subject.entry.title, subject.entry.dist, contract)
        require(
            rejection is None,
            f"PluginInfo.contract is {contract!r}; this core has {CONTRACT_VERSION}.",
        )

    @pytest.mark.parametrize("age", ["oldest", "newest"])
    def test_another_core_takes_it(self, subject: Subject, tmp_path: Path, age: str) -> None:
        """The oldest and the newest core that the metadata admits list it and can probe it."""
        wheels = admitted_cores(core_specifier(subject))
        core = OtherCore(wheels[0 if age == "oldest" else -1], tmp_path / "environment")
        name, version = subject.entry.name, core.wheel.version
        (listed,) = [each for each in core.sagellm("plugins", "list") if each["name"] == name]
        if listed["status"] != "ok":
            told = listed["rejection"] or {"message": listed["status"], "hint": ""}
            fail(f"Core {version} lists it as {listed['status']}: {told['message']}")
        explained = core.sagellm("plugins", "why", "--backend", name)
        for candidate in explained.get("candidates", []):
            rejection = candidate.get("rejection") or {"code": "", "message": ""}
            if candidate.get("name") == name and rejection["code"] not in _FIT:
                fail(f"Core {version} cannot probe it: {rejection['message']}")
