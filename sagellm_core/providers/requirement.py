"""Requirements of a distribution on core, judged without importing more than is needed.

Specifiers are those of the Python packaging user guide, "Version specifiers"
(https://packaging.python.org/en/latest/specifications/version-specifiers/).
"""

from __future__ import annotations

import operator
import re

from sagellm_core import __version__

CORE_DIST = "sagellm-core"
CORE_VERSION = __version__

_HEAD = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*")
#: What follows the name in nearly every requirement: extras, then a specifier, no marker.
_PLAIN_TAIL = re.compile(r"(?:\[[^\]]*\])?\s*(\(?)([^();@]*)(\)?)\s*")
_RELEASE = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_CLAUSE = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*([0-9]+(?:\.[0-9]+)*)\s*")
_COMPARE = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def core_specifiers(requirements: list[str]) -> list[str]:
    """The version specifiers for core among a distribution's ``Requires-Dist`` values.

    A requirement whose environment marker does not hold here, or that belongs to an extra, is
    left out.

    :raises ValueError: a requirement on core that cannot be parsed.
    """
    specifiers = []
    for requirement in requirements:
        head = _HEAD.match(requirement)
        if head is None or re.sub(r"[-_.]+", "-", head[1]).lower() != CORE_DIST:
            continue
        tail = _PLAIN_TAIL.fullmatch(requirement, head.end())
        if tail is not None and bool(tail[1]) == bool(tail[3]):
            specifiers.append(tail[2].strip())
            continue
        from packaging.requirements import Requirement

        # InvalidRequirement is a ValueError.
        parsed = Requirement(requirement)
        if parsed.marker is None or parsed.marker.evaluate({"extra": ""}):
            specifiers.append(str(parsed.specifier))
    return specifiers


def failing_clauses(specifier: str, version: str = CORE_VERSION) -> list[tuple[str, str]]:
    """The clauses, as (operator, version), of ``specifier`` that ``version`` does not satisfy.

    Pre-releases satisfy a specifier like any other version.

    :raises ValueError: the specifier is not one.
    """
    clauses = [clause for clause in specifier.split(",") if clause.strip()]
    matches = [_CLAUSE.fullmatch(clause) for clause in clauses]
    # Between plain releases every operator above is a comparison of tuples. Anything else
    # (pre-releases, wildcards, ~=) has rules of its own; `packaging` knows them, but importing
    # it takes as long as everything else in listing plugins together.
    if _RELEASE.fullmatch(version) and all(matches):
        ours = _release(version)
        return [
            (match[1], match[2])
            for match in matches
            if match is not None and not _COMPARE[match[1]](ours, _release(match[2]))
        ]
    from packaging.specifiers import SpecifierSet

    # InvalidSpecifier is a ValueError.
    return [
        (each.operator, each.version)
        for each in sorted(SpecifierSet(specifier), key=str)
        if not each.contains(version, prereleases=True)
    ]


def core_is_too_old(failing: list[tuple[str, str]], version: str = CORE_VERSION) -> bool:
    """Whether the failing clauses ask for a newer core, rather than for an older one."""
    for sign, wanted in failing:
        if sign in (">", ">="):
            return True
        if sign in ("==", "===", "~="):
            from packaging.version import InvalidVersion, Version

            try:
                return Version(wanted.removesuffix(".*")) > Version(version)
            except InvalidVersion:
                return True
    return False


def _release(version: str) -> tuple[int, ...]:
    parts = [int(part) for part in version.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)
