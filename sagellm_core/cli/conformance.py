"""``sagellm conformance``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import exit_codes
from .progress import ProgressBar
from .report import print_json
from .state import State, debug_option, json_option
from .suggestions import suggest_backend
from .table import print_rows, print_table

if TYPE_CHECKING:
    from sagellm_core.contract.errors import ConfigurationError
    from sagellm_core.testing.report import Report
    from sagellm_core.testing.suite_process import Transcript

_GROUPS = ("static", "detection", "contract", "numeric", "engine", "skew")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("plugin", metavar="PLUGIN", shell_complete=suggest_backend)
@click.option(
    "--declaration",
    type=_FILE,
    metavar="FILE",
    help="The plugin's own test file. [default: what the plugin says of itself]",
)
@click.option("--xfails", type=_FILE, metavar="FILE", help="Expected failures: test_id  # reason")
@click.option(
    "--group",
    "groups",
    type=click.Choice(_GROUPS),
    multiple=True,
    help="Run this group alone. May be repeated.",
)
@click.option(
    "-k",
    "select",
    default="",
    metavar="EXPRESSION",
    help="Run the tests alone that match, as in pytest -k.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where conformance.json and conformance.md go. [default: here]",
)
@json_option
@debug_option
@click.pass_obj
def command(
    state: State,
    plugin: str,
    declaration: Path | None,
    xfails: Path | None,
    groups: tuple[str, ...],
    select: str,
    output: Path,
) -> int:
    """Hold a plugin to the contract, and write what came of it.

    Tests run in a process of their own; one that dies or hangs is a finding. The exit code is 1 if
    a test failed that is not expected to, or if none was run.
    """
    _check_extra()
    from sagellm_core.testing.page import page
    from sagellm_core.testing.plugin_lookup import find_plugin
    from sagellm_core.testing.running import run_suite

    entry = find_plugin(plugin)
    _try_out(output)
    with ProgressBar() as bar:

        def progress(transcript: Transcript) -> None:
            current = transcript.current or {"group": "", "id": "tests"}
            stage = f"{current['group']} {current['id'].partition('::')[2]}".strip()
            bar(stage, len(transcript.results), len(transcript.tests))

        report = run_suite(
            entry, file=declaration, xfails=xfails, groups=groups, select=select, progress=progress
        )
    import json

    data = json.dumps(report.to_dict(), indent=1, ensure_ascii=False)
    _write(output / "conformance.json", data + "\n")
    _write(output / "conformance.md", page(report))
    if state.json:
        print_json(report.to_dict())
    else:
        _show(report, output)
    return exit_codes.OK if report.conforms else exit_codes.ERROR


def _check_extra() -> None:
    """:raises ConfigurationError: what the tests need is not installed."""
    missing = [name for name in ("pytest", "numpy") if find_spec(name) is None]
    if missing:
        from sagellm_core.contract.errors import ConfigurationError

        raise ConfigurationError(
            f"The conformance tests need what is not installed: {', '.join(missing)}.",
            hint="Run: pip install 'sagellm-core[testing]'",
        )


def _try_out(output: Path) -> None:
    """Make the directory, and see that files can be written there before the tests run.

    :raises ConfigurationError: they cannot.
    """
    import tempfile

    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise _unwritable(output, error) from error


def _write(path: Path, text: str) -> None:
    """:raises ConfigurationError: the file cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    from sagellm_core.contract.errors import ConfigurationError

    return ConfigurationError(
        f"{path} cannot be written: {error.strerror or error}.",
        hint="Name another directory with -o.",
    )


def _show(report: Report, output: Path) -> None:
    from sagellm_core.testing.groups import VERDICTS
    from sagellm_core.testing.page import groups_of
    from sagellm_core.testing.result import Outcome

    passed = (Outcome.PASSED, Outcome.XPASSED)
    rows = []
    for group in (*groups_of(report), VERDICTS):
        counts = [
            len(report.of(*outcomes, group=group))
            for outcomes in (passed, (Outcome.FAILED,), (Outcome.XFAILED,), (Outcome.SKIPPED,))
        ]
        seconds = sum(each.seconds for each in report.results if each.group == group)
        marks = [str(count) if count else "-" for count in counts]
        if counts[1]:
            marks[1] = click.style(marks[1], fg="red", bold=True)
        rows.append((group, *marks, f"{seconds:.1f}"))
    print_table(("GROUP", "PASSED", "FAILED", "EXPECTED FAILURES", "SKIPPED", "SECONDS"), rows)
    failures = report.of(Outcome.FAILED)
    if failures:
        click.echo()
        mark = click.style("failed", fg="red", bold=True)
        print_rows([(mark, each.id, _first_lines(each.reason)) for each in failures])
    skipped: dict[str, int] = {}
    for each in report.of(Outcome.SKIPPED):
        reason = _first_lines(each.reason)
        skipped[reason] = skipped.get(reason, 0) + 1
    if skipped:
        click.echo()
        mark = click.style("skipped", fg="yellow")
        print_rows([(mark, str(count), reason) for reason, count in skipped.items()])
    for sentence in report.stale:
        click.echo(click.style("stale ", fg="yellow") + sentence)
    color = "green" if report.conforms else "red"
    verdict = click.style(report.verdict, fg=color, bold=True)
    if report.why_nothing:
        told = f": {verdict}"
    else:
        told = (
            f" {verdict} to contract {report.core_contract}{report.reach}: "
            f"{len(report.of(*passed))} passed, {len(failures)} failed"
        )
    click.echo(
        f"\n{report.plugin} ({report.dist} {report.version}){told}. Written: "
        f"{output / 'conformance.json'}, {output / 'conformance.md'}"
    )


def _first_lines(text: str, limit: int = 400) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 3]}..."
