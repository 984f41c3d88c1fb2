"""Whether each declared capability has a test that passed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .groups import VERDICTS
from .result import CheckResult, Outcome


def verdict_id(capability: str) -> str:
    """The id of a capability's verdict."""
    return f"TestCapabilities::test_has_a_passing_test[{capability}]"


def verdict(
    capability: str, results: Iterable[CheckResult], proofs: Mapping[str, Sequence[str]]
) -> CheckResult:
    """Judge one capability by what its tests came to.

    :param results: of the tests that were to run, those that did not included.
    :param proofs: a capability of the plugin's own to its tests, as in ``Declaration.proofs``.
    """
    named = tuple(proofs.get(capability, ()))
    concerned = [each for each in results if capability in each.proves or _is_named(each, named)]
    passed = [each for each in concerned if each.outcome in (Outcome.PASSED, Outcome.XPASSED)]
    if passed:
        return _verdict(capability, Outcome.PASSED)
    if not concerned and not named:
        return _verdict(capability, Outcome.SKIPPED, "None of its tests were selected.")
    if not concerned:
        names = ", ".join(named)
        return _verdict(capability, Outcome.FAILED, f"None of its tests ran: {names}.")
    told = "; ".join(f"{each.id} {each.outcome}" + _because(each) for each in concerned[:3])
    more = f"; and {len(concerned) - 3} more" if len(concerned) > 3 else ""
    return _verdict(
        capability,
        Outcome.FAILED,
        f"The plugin declares {capability!r}, and no test of it passed: {told}{more}.",
    )


def _is_named(result: CheckResult, names: Sequence[str]) -> bool:
    base = result.id.partition("[")[0]
    return any(base == name or base.endswith(f"::{name}") for name in names)


def _because(result: CheckResult) -> str:
    reason = " ".join(result.reason.split()).rstrip(".")
    return f" ({reason if len(reason) <= 100 else reason[:97] + '...'})" if reason else ""


def _verdict(capability: str, outcome: Outcome, reason: str = "") -> CheckResult:
    return CheckResult(id=verdict_id(capability), group=VERDICTS, outcome=outcome, reason=reason)
