"""The suite's part in pytest; a star import of the suite loads it.

PYTEST_DONT_REWRITE: it may be imported before pytest could.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from .groups import VERDICTS
from .marks import GROUP
from .module_state import (
    LISTENERS,
    MOST_HANGS,
    ModuleState,
    all_states,
    group_of,
    id_of,
    proven_by,
    state_of,
)
from .result import CheckResult, Outcome
from .time_limit import time_limit

# --- collection ------------------------------------------------------------------------------


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    """A file without a sound declaration is one error, whatever its tests are."""
    if isinstance(obj, type) and hasattr(obj, GROUP) and isinstance(collector, pytest.Module):
        state_of(collector.config, collector.obj)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case a model, or a capability, of the declaration."""
    if metafunc.cls is None or not hasattr(metafunc.cls, GROUP):
        return
    state = state_of(metafunc.config, metafunc.module)
    for name, cases in (
        ("decoder", state.decoders),
        ("encoder", state.embedders),
        ("capability", tuple(sorted(state.declaration.capabilities))),
        ("variable", tuple(state.declaration.visibility)),
    ):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, cases or ("none",), scope="function")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Verdicts come last; what is expected to fail is marked so."""
    for item in items:
        state = _state(item)
        if state is None:
            continue
        expected = state.xfails.of(id_of(item))
        if expected is not None:
            item.add_marker(pytest.mark.xfail(reason=expected.reason, strict=False))
    items.sort(key=lambda item: group_of(item) == VERDICTS)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Know which tests are to run."""
    for item in session.items:
        state = _state(item)
        if state is not None:
            state.selected[id_of(item)] = item


def _state(item: pytest.Item) -> ModuleState | None:
    module = getattr(item, "module", None)
    if module is None or not any(each.module is module for each in all_states(item.config)):
        return None
    return state_of(item.config, module)


# --- running ---------------------------------------------------------------------------------


# Innermost: what others have begun for the test is ended by them, whatever is raised here.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Skip what does not apply, and limit the time of fixtures, which load models."""
    state = _suite_state(item)
    if state is None:
        return (yield)
    reason = state.why_not(item)
    if reason:
        pytest.skip(reason)
    if state.hangs >= MOST_HANGS and group_of(item) != VERDICTS:
        pytest.fail(f"Not tried: {state.hangs} tests before it did not end.", pytrace=False)
    with time_limit(state.declaration.time_limit, "The setup of the test"):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Limit the time of tests."""
    state = _suite_state(item)
    if state is None:
        return (yield)
    with time_limit(state.declaration.time_limit, "The test"):
        return (yield)


def _suite_state(item: pytest.Item) -> ModuleState | None:
    """The state for a test of the suite; ``None`` for the vendor's own."""
    return _state(item) if hasattr(getattr(item, "cls", None), GROUP) else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what came of each test; the worst of setup, call and teardown counts."""
    report = yield
    state = _state(item)
    if state is None:
        return report
    key = id_of(item)
    before = state.results.get(key)
    result = _result(item, call, report, before)
    state.results[key] = result
    if " did not end within " in result.reason and report.failed:
        state.hangs += 1
    if report.when == "teardown":
        for listen in item.config.stash.get(LISTENERS, []):
            listen(result)
    return report


def _result(
    item: pytest.Item,
    call: pytest.CallInfo[None],
    report: pytest.TestReport,
    before: CheckResult | None,
) -> CheckResult:
    outcome, reason = _outcome(call, report)
    if before is not None and (outcome is Outcome.PASSED or before.outcome is Outcome.FAILED):
        outcome, reason = before.outcome, before.reason
    return CheckResult(
        id=id_of(item),
        group=group_of(item),
        outcome=outcome,
        reason=reason,
        seconds=report.duration + (0.0 if before is None else before.seconds),
        proves=proven_by(item),
    )


def _outcome(call: pytest.CallInfo[None], report: pytest.TestReport) -> tuple[Outcome, str]:
    expected = getattr(report, "wasxfail", None)
    if report.passed:
        return (Outcome.XPASSED, expected) if expected is not None else (Outcome.PASSED, "")
    if report.skipped and expected is not None:
        return Outcome.XFAILED, f"{expected} ({_said(call)})"
    if report.skipped:
        return Outcome.SKIPPED, _said(call)
    return Outcome.FAILED, _said(call)


def _said(call: pytest.CallInfo[None]) -> str:
    """The sentence of a failure or skip; of an exception, its class, text and innermost place."""
    info = call.excinfo
    if info is None:
        return ""
    sentence = getattr(info.value, "msg", None)
    if isinstance(info.value, (pytest.fail.Exception, pytest.skip.Exception)):
        return str(sentence)
    place = info.traceback[-1]
    text = str(info.value)[:2000]
    return f"{info.typename}: {text} ({place.path}, line {place.lineno + 1})"


# --- the end ---------------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell which expected failures are none any more."""
    for state in all_states(terminalreporter.config):
        for line in stale_lines(state):
            terminalreporter.write_line(f"conformance: {line}", yellow=True)


def stale_lines(state: ModuleState) -> list[str]:
    """A sentence about each expected failure that passed."""
    passed = [each.id for each in state.results.values() if each.outcome is Outcome.XPASSED]
    failed = [each.id for each in state.results.values() if each.outcome is Outcome.XFAILED]
    return [entry.sentence(state.xfails.path) for entry in state.xfails.stale(passed, failed)]
