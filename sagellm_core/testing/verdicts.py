"""Whether each declared capability has a test that passed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sagellm_core.providers.naming import nearest

from .declaration import KNOWN, Declaration
from .groups import VERDICTS
from .result import CheckResult, Outcome

#: How the reason of a test begins that was skipped for want of a device.
NO_DEVICE = "No device is usable here:"


def verdict(
    capability: str, results: Iterable[CheckResult], declaration: Declaration
) -> CheckResult:
    """Judge one capability by what its tests came to.

    :param results: of the tests that were to run, those that did not included.
    """
    named = tuple(declaration.proofs.get(capability, ()))
    if not named and capability not in KNOWN:
        return _verdict(capability, Outcome.FAILED, _unknown(capability))
    concerned = [each for each in results if capability in each.proves or _is_named(each, named)]
    if any(each.outcome in (Outcome.PASSED, Outcome.XPASSED) for each in concerned):
        return _verdict(capability, Outcome.PASSED)
    if not concerned and not named:
        return _verdict(capability, Outcome.SKIPPED, "None of its tests were selected.")
    if not concerned:
        return _verdict(capability, Outcome.FAILED, f"None of its tests ran: {', '.join(named)}.")
    lacking = [each for each in concerned if _lacked_a_device(each)]
    skipped = all(each.outcome is Outcome.SKIPPED for each in concerned)
    if lacking and skipped and not declaration.device_required:
        return _verdict(capability, Outcome.SKIPPED, lacking[0].reason)
    told = "; ".join(f"{each.id} {each.outcome}" + _because(each) for each in concerned[:3])
    more = f"; and {len(concerned) - 3} more" if len(concerned) > 3 else ""
    return _verdict(
        capability,
        Outcome.FAILED,
        f"The plugin declares {capability!r}, and no test of it passed: {told}{more}.",
    )


def _unknown(capability: str) -> str:
    near = nearest(capability, KNOWN)
    meant = f"Did you mean {near!r}? Else pass" if near else "Pass"
    return (
        f"Core does not know the capability {capability!r}, and no test proves it. {meant} "
        f"--declaration with a file that names its tests in proofs={{{capability!r}: [...]}}."
    )


def _is_named(result: CheckResult, names: Sequence[str]) -> bool:
    base = result.id.partition("[")[0]
    return any(base == name or base.endswith(f"::{name}") for name in names)


def _lacked_a_device(result: CheckResult) -> bool:
    return result.outcome is Outcome.SKIPPED and result.reason.startswith(NO_DEVICE)


def _because(result: CheckResult) -> str:
    reason = " ".join(result.reason.split()).rstrip(".")
    return f" ({reason if len(reason) <= 100 else reason[:97] + '...'})" if reason else ""


def _verdict(capability: str, outcome: Outcome, reason: str = "") -> CheckResult:
    return CheckResult(
        id=f"TestCapabilities::test_has_a_passing_test[{capability}]",
        group=VERDICTS,
        outcome=outcome,
        reason=reason,
    )
