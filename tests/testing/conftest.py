"""A working provider, siblings of it with one flaw each, and the suite run over them."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.testing.plugin_lookup import find_plugin
from sagellm_core.testing.report import Report
from sagellm_core.testing.result import Outcome
from sagellm_core.testing.running import run_suite

_PROVIDER = Path(__file__).parent / "tiny_provider"
_SIBLING = """\
from sagellm_core.contract import *
from .plugin import *

@hookimpl
def sagellm_plugin_info():
    return info({name!r}, {info})

"""
_DECLARATION = """\
from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *

DECLARATION = Declaration(plugin={name!r}, {arguments})
"""
CAPABILITIES = frozenset({"generate", "logprobs", "embed"})


class Workshop:
    """Installs plugins and runs the suite over them."""

    def __init__(self, site: Any, place: Path) -> None:
        self.site = site
        self.place = place
        self.package = site.path / "tiny_provider"
        shutil.copytree(_PROVIDER, self.package, ignore=shutil.ignore_patterns("__pycache__"))

    def install(self, name: str, body: str = "", *, info: str = "", **dist: Any) -> str:
        """Install a sibling of the working provider: its module ends in ``body``."""
        source = _SIBLING.format(name=name, info=info) + textwrap.dedent(body)
        (self.package / f"{name}.py").write_text(source, encoding="utf-8")
        entry_points = f"[sagellm.plugins.v1]\n{name} = tiny_provider.{name}\n"
        self.site.dist(f"sagellm-{name}", entry_points, **dist)
        return name

    def declare(self, name: str, **arguments: Any) -> Path:
        """Write the file with a declaration; strings in ``arguments`` are expressions."""
        given = {"capabilities": repr(CAPABILITIES), "model_types": "('llama',)", **arguments}
        text = ", ".join(f"{key}={value}" for key, value in given.items())
        file = self.place / name / "test_conformance.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(_DECLARATION.format(name=name, arguments=text), encoding="utf-8")
        return file

    def run(self, name: str, *groups: str, xfails: Path | None = None, **arguments: Any) -> Report:
        """The suite's report on an installed plugin."""
        file = self.declare(name, **arguments)
        return run_suite(find_plugin(name), file=file, groups=groups, xfails=xfails)


def failures(report: Report) -> dict[str, str]:
    """Failed tests, by id without the class, and why."""
    return {each.id.partition("::")[2]: each.reason for each in report.of(Outcome.FAILED)}


def passed(report: Report) -> Sequence[str]:
    """Ids without the class."""
    return [each.id.partition("::")[2] for each in report.of(Outcome.PASSED)]


@pytest.fixture
def workshop(plugin_site: Any, tmp_path: Path) -> Workshop:
    place = tmp_path / "declarations"
    place.mkdir()
    # Settings for pytest of whoever runs these tests are not for the vendor's own files.
    (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return Workshop(plugin_site, place)


@pytest.fixture
def told() -> Any:
    return failures


@pytest.fixture
def passes() -> Any:
    return passed
