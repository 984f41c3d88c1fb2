"""The three version gates between core and a plugin.

The group's major and the requirement on core are read from metadata before any import; the
contract's minor is what the plugin itself says in the probe.
"""

from __future__ import annotations

import re

from sagellm_core.contract.version import (
    CONTRACT_MINOR,
    CONTRACT_VERSION,
    ENTRY_POINT_GROUP_PREFIX,
    SUPPORTED_MAJORS,
)

from .rejection import Rejection
from .requirement import CORE_DIST, CORE_VERSION, core_is_too_old, core_specifiers, failing_clauses

_UPGRADE_CORE = f"Run: pip install -U {CORE_DIST}"


def group_major(group: str) -> int | None:
    """The contract's major that an entry-point group carries; ``None``: not one of ours."""
    digits = group.removeprefix(ENTRY_POINT_GROUP_PREFIX)
    if digits == group or not re.fullmatch(r"[1-9][0-9]{0,5}", digits):
        return None
    return int(digits)


def group_gate(plugin: str, dist: str, major: int) -> Rejection | None:
    """Gate 1: core runs plugins of the current major and of the one before it.

    :param plugin: the plugin with its distribution, for the sentence.
    """
    if major in SUPPORTED_MAJORS:
        return None
    runs = " and ".join(str(each) for each in sorted(SUPPORTED_MAJORS))
    newer = major > max(SUPPORTED_MAJORS)
    return Rejection(
        "group_major",
        f"{plugin} is made for contract {major}, and {CORE_DIST} {CORE_VERSION} runs"
        f" contract {runs}.",
        _UPGRADE_CORE if newer else f"Run: pip install -U {dist}",
    )


def requirement_gate(plugin: str, dist: str, requirements: list[str]) -> Rejection | None:
    """Gate 2: the installed core satisfies the distribution's ``Requires-Dist`` on it."""
    try:
        for specifier in core_specifiers(requirements):
            failing = failing_clauses(specifier)
            if failing:
                # Upgrading the plugin is what mends a core that is too new for it.
                mend = f'"{CORE_DIST}{specifier}"' if core_is_too_old(failing) else f"-U {dist}"
                return Rejection(
                    "core_requirement",
                    f"{plugin} needs {CORE_DIST} {specifier}, and {CORE_VERSION} is installed.",
                    f"Run: pip install {mend}",
                )
    except ValueError as error:
        return Rejection(
            "bad_metadata",
            f"{plugin} has a requirement on {CORE_DIST} that cannot be read: {error}.",
            f"Reinstall it: pip install --force-reinstall {dist}",
        )
    return None


def contract_gate(plugin: str, dist: str, contract: str) -> Rejection | None:
    """Gate 3: the plugin was written for no newer minor of the contract than core has."""
    parts = re.fullmatch(r"([0-9]{1,6})\.([0-9]{1,6})", contract)
    if parts is None:
        return Rejection(
            "wrong_type",
            f"{plugin} says it was written for contract {contract!r}, which is not of the form"
            " major.minor.",
            f"Report it to the maker of {dist}, or upgrade it: pip install -U {dist}",
        )
    major, minor = int(parts[1]), int(parts[2])
    if major in SUPPORTED_MAJORS and (major < max(SUPPORTED_MAJORS) or minor <= CONTRACT_MINOR):
        return None
    known = major in SUPPORTED_MAJORS
    newer = known or major > max(SUPPORTED_MAJORS)
    return Rejection(
        "contract_minor" if known else "contract_major",
        f"{plugin} needs contract {contract}, and {CORE_DIST} {CORE_VERSION} has"
        f" {CONTRACT_VERSION}.",
        _UPGRADE_CORE if newer else f"Run: pip install -U {dist}",
    )
