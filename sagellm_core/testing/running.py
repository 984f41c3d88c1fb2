"""The whole suite over one plugin, whatever the plugin does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sagellm_core.contract.errors import ConfigurationError
from sagellm_core.contract.plugin import PluginInfo
from sagellm_core.providers import PluginEntry, probe

from .declaration import Declaration
from .groups import GROUPS, OWN, VERDICTS
from .report import Report
from .result import CheckResult, Outcome
from .suite_process import SuiteProcess, Transcript, failed
from .verdicts import verdict
from .xfails import ExpectedFailures, read_xfails

#: After so many processes that died or hung, what is left is not tried.
MOST_DEATHS = 3

_MODULE = """\
from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *

DECLARATION = Declaration(plugin={plugin!r}, capabilities={capabilities!r})
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
    (probed,) = probe([entry], None)
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
    declaration = _declared(transcript, entry)
    expected = read_xfails(transcript.xfails) if transcript.xfails else ExpectedFailures()
    results = transcript.results + [
        _as_expected(verdict(str(each), transcript.results, declaration), expected)
        for each in sorted(declaration.capabilities)
    ]
    return Report.made(entry, probed, results, wanted, _stale(expected, results))


def _written(place: Path, plugin: str, info: PluginInfo | None) -> Path:
    """A file whose declaration is what the plugin says of itself."""
    capabilities = {str(each) for each in info.capabilities} if info is not None else set()
    file = place / "test_conformance.py"
    file.write_text(_MODULE.format(plugin=plugin, capabilities=capabilities), encoding="utf-8")
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


def _declared(transcript: Transcript, entry: PluginEntry) -> Declaration:
    if transcript.problems or transcript.declaration is None:
        what = transcript.problems[0] if transcript.problems else transcript.output
        raise ConfigurationError(
            f"The tests cannot be collected: {what.strip() or 'pytest said nothing'}",
            hint="Mend the file with the declaration; pytest shows the same error.",
        )
    declaration = Declaration.from_dict(transcript.declaration)
    if declaration.plugin != entry.name:
        raise ConfigurationError(
            f"The declaration is about {declaration.plugin!r}, not about {entry.name!r}.",
            hint=f"Run: sagellm conformance {declaration.plugin}",
        )
    return declaration


def _as_expected(result: CheckResult, expected: ExpectedFailures) -> CheckResult:
    """A verdict, as the file of expected failures has it."""
    entry = expected.of(result.id)
    if entry is None or result.outcome not in (Outcome.FAILED, Outcome.PASSED):
        return result
    failed = result.outcome is Outcome.FAILED
    return CheckResult(
        id=result.id,
        group=VERDICTS,
        outcome=Outcome.XFAILED if failed else Outcome.XPASSED,
        reason=f"{entry.reason} ({result.reason})" if failed else entry.reason,
    )


def _stale(expected: ExpectedFailures, results: Sequence[CheckResult]) -> list[str]:
    passed = [each.id for each in results if each.outcome is Outcome.XPASSED]
    failed = [each.id for each in results if each.outcome is Outcome.XFAILED]
    return [entry.sentence(expected.path) for entry in expected.stale(passed, failed)]
