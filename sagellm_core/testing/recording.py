"""What ``sagellm conformance`` loads into the pytest that it starts (``pytest -p``).

The parent learns of every test when it begins and when it is over, one JSON object a line, so that
it knows where a process that dies or hangs was.

==============  =============================================================================
``declared``    a declaration, and the tests that are to run
``begun``       a test's id, group, and what it proves
``over``        a test's :class:`~.result.CheckResult`
``problem``     why a file could not be collected
==============  =============================================================================

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .groups import VERDICTS
from .module_state import LISTENERS, XFAILS, all_states, group_of, id_of, proven_by
from .result import CheckResult

_RECORD = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the parent passes."""
    group = parser.getgroup("sagellm conformance")
    group.addoption("--sagellm-record", metavar="FILE", help="append what happens to FILE")
    group.addoption("--sagellm-xfails", metavar="FILE", help="expected failures")
    group.addoption("--sagellm-groups", metavar="GROUPS", help="run these, with commas between")
    group.addoption("--sagellm-done", metavar="FILE", help="leave out tests with ids in FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Take the options."""
    config.stash[_RECORD] = Path(config.getoption("--sagellm-record"))
    xfails = config.getoption("--sagellm-xfails")
    if xfails:
        config.stash[XFAILS] = Path(xfails)

    def listen(result: CheckResult) -> None:
        _write(config, "over", result=result.to_dict())

    listeners: list[Callable[[CheckResult], None]] = [listen]
    config.stash[LISTENERS] = listeners
    config.pluginmanager.register(_Collecting(config), "sagellm-collecting")


class _Collecting:
    """Tells why files cannot be collected, which pytest only counts."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell one."""
        if report.failed:
            _write(self._config, "problem", text=str(report.longrepr))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the groups asked for, less what was run before; verdicts are the parent's."""
    wanted = set(config.getoption("--sagellm-groups").split(","))
    done = set(Path(config.getoption("--sagellm-done")).read_text(encoding="utf-8").splitlines())
    items[:] = [
        item
        for item in items
        if group_of(item) in wanted and group_of(item) != VERDICTS and id_of(item) not in done
    ]
    order = list(dict.fromkeys(config.getoption("--sagellm-groups").split(",")))
    items.sort(key=lambda item: order.index(group_of(item)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell what is declared."""
    for state in all_states(session.config):
        path = state.xfails.path
        _write(
            session.config,
            "declared",
            declaration=state.declaration.to_dict(),
            xfails=None if path is None else str(path),
            tests=[_told(item) for item in session.items],
        )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """A test begins."""
    _write(item.config, "begun", test=_told(item))


def _told(item: pytest.Item) -> dict[str, Any]:
    return {"id": id_of(item), "group": group_of(item), "proves": list(proven_by(item))}


def _write(config: pytest.Config, kind: str, **fields: Any) -> None:
    with config.stash[_RECORD].open("a", encoding="ascii") as file:
        file.write(json.dumps({"kind": kind, **fields}) + "\n")
