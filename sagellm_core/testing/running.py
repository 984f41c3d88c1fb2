"""The whole suite over one plugin, whatever the plugin does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sagellm_core.contract.errors import ConfigurationError
from sagellm_core.contract.plugin import PluginInfo
from sagellm_core.providers import PluginEntry, ProbeReport, probe

from .declaration import KNOWN, Declaration
from .groups import GROUPS, OWN
from .report import Report
from .result import CheckResult, Outcome
from .suite_process import SuiteProcess, Transcript, failed
from .verdicts import verdict
from .xfails import ExpectedFailures, read_xfails

#: After so many processes that died or hung, what is left is not tried.
MOST_DEATHS = 3
#: The test that is told to have failed wherever core cannot probe the plugin.
_PROBE = {"id": "TestDetection::test_core_can_probe_it", "group": "detection", "proves": ()}

_MODULE = """\
from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *

DECLARATION = Declaration(plugin={plugin!r}, capabilities={capabilities!r}, proofs={proofs!r})
"""


def run_suite(
    entry: PluginEntry,
    *,
    file: Path | None = None,
    xfails: Path | None = None,
    groups: Sequence[str] = (),
    select: str = "",
    progress: Callable[[Transcript], None] = lambda _: None,
) -> Report:
    """Run the suite in processes of its own.

    :param entry: the plugin.
    :param file: the vendor's file with a declaration; ``None``: what the plugin itself declares.
    :param xfails: a file of expected failures, in place of the declaration's.
    :param groups: run these alone.
    :param select: run the tests alone that match this, as pytest's ``-k`` has it.
    :param progress: called as tests begin and end.
    :raises ConfigurationError: the file, or the one of expected failures, cannot be used.
    """
    if xfails is not None:
        read_xfails(xfails)
    (probed,) = probe([entry], None)
    written = file is None
    with tempfile.TemporaryDirectory(prefix="sagellm-conformance-") as directory:
        place = Path(directory)
        env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        arguments = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-o", "addopts="]
        arguments += ["-p", "sagellm_core.testing.recording", "-p", "no:xdist"]
        if file is None:
            file = _written(place, entry.name, probed.info)
            # Nobody else's hooks and settings have a say here.
            env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
            arguments += ["-c", str(place / "pytest.ini"), "--rootdir", str(place)]
        if xfails is not None:
            arguments += ["--sagellm-xfails", str(xfails.resolve())]
        wanted = tuple(groups) or (*GROUPS, OWN)
        arguments += ["--sagellm-groups", ",".join(wanted), "-k", select]
        transcript = Transcript()
        _run_all([*arguments, str(file)], place, transcript, progress, env)
    declaration = _declared(transcript, entry, file, written=written)
    expected = read_xfails(transcript.xfails) if transcript.xfails else ExpectedFailures()
    told = _unprobed(probed, transcript.results)
    told += [
        verdict(str(each), transcript.results, declaration)
        for each in sorted(declaration.capabilities)
    ]
    results = transcript.results + [_as_expected(each, expected) for each in told]
    return Report.made(
        entry,
        probed,
        results,
        wanted,
        _stale(expected, results),
        select=select,
        provider_options=declaration.provider_options,
    )


def _unprobed(probed: ProbeReport, results: Sequence[CheckResult]) -> list[CheckResult]:
    """That core cannot probe the plugin, where the test that finds it was not run."""
    rejection = probed.rejection
    if rejection is None or any(each.id == _PROBE["id"] for each in results):
        return []
    return [failed(_PROBE, f"{rejection.message} {rejection.hint}".strip())]


def _written(place: Path, plugin: str, info: PluginInfo | None) -> Path:
    """A file whose declaration is what the plugin says of itself."""
    capabilities = {str(each) for each in info.capabilities} if info is not None else set()
    # No tests are named: the verdict on such a capability says what to do.
    proofs: dict[str, list[str]] = {each: [] for each in sorted(capabilities.difference(KNOWN))}
    text = _MODULE.format(plugin=plugin, capabilities=capabilities, proofs=proofs)
    file = place / "test_conformance.py"
    file.write_text(text, encoding="utf-8")
    (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return file


def _run_all(
    arguments: Sequence[str],
    place: Path,
    transcript: Transcript,
    progress: Callable[[Transcript], None],
    env: dict[str, str],
) -> None:
    """Start processes until every test has a result."""
    for _ in range(MOST_DEATHS):
        SuiteProcess(arguments, place, transcript, progress, env).run()
        if transcript.problems or transcript.declaration is None:
            return
        done = {each.id for each in transcript.results}
        left = [test for test in transcript.tests if test["id"] not in done]
        if not left:
            return
    sentence = f"Not tried: the process died in {MOST_DEATHS} tests before."
    transcript.results += [failed(test, sentence) for test in left]


def _declared(
    transcript: Transcript, entry: PluginEntry, file: Path, *, written: bool
) -> Declaration:
    """The file's declaration; ``written``: the file is ours."""
    if transcript.problems or transcript.declaration is None:
        raise _uncollected(transcript, file, written=written)
    declaration = Declaration.from_dict(transcript.declaration)
    if declaration.plugin != entry.name:
        raise ConfigurationError(
            f"The declaration is about {declaration.plugin!r}, not about {entry.name!r}.",
            hint=f"Run: sagellm conformance {declaration.plugin}",
        )
    return declaration


def _uncollected(transcript: Transcript, file: Path, *, written: bool) -> ConfigurationError:
    if not transcript.problems and transcript.ended_well and not written:
        return ConfigurationError(
            f"{file} has no test of the suite.",
            hint="Write, at its top: from sagellm_core.testing.suite import *",
        )
    what = transcript.problems[0] if transcript.problems else transcript.output
    # One of our own errors says itself what to do.
    what, _, hint = what.strip().partition(" Hint: ")
    if "'-k'" in what:
        hint = "Correct the expression of -k."
    elif not hint and not written:
        hint = "Mend the file with the declaration; pytest shows the same error."
    return ConfigurationError(
        f"The tests cannot be collected: {what or 'pytest said nothing'}", hint=hint
    )


def _as_expected(result: CheckResult, expected: ExpectedFailures) -> CheckResult:
    """What no process told, as the file of expected failures has it."""
    entry = expected.of(result.id)
    if entry is None or result.outcome not in (Outcome.FAILED, Outcome.PASSED):
        return result
    failed = result.outcome is Outcome.FAILED
    return CheckResult(
        id=result.id,
        group=result.group,
        outcome=Outcome.XFAILED if failed else Outcome.XPASSED,
        reason=f"{entry.reason} ({result.reason})" if failed else entry.reason,
    )


def _stale(expected: ExpectedFailures, results: Sequence[CheckResult]) -> list[str]:
    passed = [each.id for each in results if each.outcome is Outcome.XPASSED]
    failed = [each.id for each in results if each.outcome is Outcome.XFAILED]
    return [entry.sentence(expected.path) for entry in expected.stale(passed, failed)]
