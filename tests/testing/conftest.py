"""A working provider, siblings of it with one flaw each, and the suite run over them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.testing.plugin_lookup import find_plugin
from sagellm_core.testing.report import Report
from sagellm_core.testing.result import Outcome
from sagellm_core.testing.running import run_suite

_HERE = Path(__file__).parent
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


@dataclass(frozen=True)
class Flaw:
    """What is wrong with one sibling."""

    name: str
    #: Statements at the end of its module.
    body: str = ""
    #: Groups of the suite to run, and which of their classes; none for all.
    groups: Sequence[str] = ()
    classes: Sequence[str] = ()
    #: Arguments of ``PluginInfo``, as text.
    info: str = ""
    #: Arguments of ``Declaration``, as expressions.
    declared: dict[str, str] = field(default_factory=dict)
    #: Arguments of the distribution.
    dist: dict[str, Any] = field(default_factory=dict)
    #: Names and sources of modules beside the package.
    modules: dict[str, str] = field(default_factory=dict)


class Workshop:
    """Installs plugins and runs the suite over them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.site = place / "site"
        self.package = self.site / "tiny_provider"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_HERE / "tiny_provider", self.package, ignore=ignored)
        # Settings for pytest of whoever runs these tests are not for the vendor's own files.
        (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")

    def install(
        self,
        name: str,
        body: str = "",
        *,
        info: str = "",
        requires: Sequence[str] = ("sagellm-core>=0.1,<0.2",),
    ) -> str:
        """Install a sibling of the working provider: its module ends in ``body``."""
        source = _SIBLING.format(name=name, info=info) + textwrap.dedent(body)
        (self.package / f"{name}.py").write_text(source, encoding="utf-8")
        place = self.site / f"sagellm_{name}-1.0.dist-info"
        place.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: sagellm-{name}", "Version: 1.0"]
        lines += [f"Requires-Dist: {each}" for each in requires]
        (place / "METADATA").write_text("\n".join(lines) + "\n")
        entry_points = f"[sagellm.plugins.v1]\n{name} = tiny_provider.{name}\n"
        (place / "entry_points.txt").write_text(entry_points)
        return name

    def declare(self, name: str, **arguments: str) -> Path:
        """Write the file with a declaration; ``arguments`` are expressions."""
        given = {
            "capabilities": "{'generate', 'logprobs', 'embed'}",
            "model_types": "('llama',)",
            **arguments,
        }
        text = ", ".join(f"{key}={value}" for key, value in given.items())
        file = self.place / name / "test_conformance.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(_DECLARATION.format(name=name, arguments=text), encoding="utf-8")
        return file

    def run(self, name: str, *groups: str, select: str = "", **arguments: str) -> Report:
        """The report of ``sagellm conformance`` on an installed plugin."""
        file = self.declare(name, **arguments)
        return run_suite(find_plugin(name), file=file, groups=groups, select=select)

    def run_all(self, flaws: Sequence[Flaw]) -> dict[str, dict[str, str]]:
        """Name to failed tests and their reasons, of many plugins in two processes of pytest."""
        for flaw in flaws:
            self.install(flaw.name, flaw.body, info=flaw.info, **flaw.dist)
            for name, source in flaw.modules.items():
                (self.site / f"{name}.py").write_text(source)
        halves = [flaws[::2], flaws[1::2]]
        running = [self._start(half, number) for number, half in enumerate(halves) if half]
        found: dict[str, dict[str, str]] = {}
        for process, answer in running:
            printed, _ = process.communicate(timeout=280)
            assert answer.exists(), printed
            found.update(json.loads(answer.read_text()))
        return found

    def _start(self, flaws: Sequence[Flaw], number: int) -> tuple[subprocess.Popen[str], Path]:
        answer = self.place / f"answer{number}.json"
        request = self.place / f"request{number}.json"
        told = {
            "path": [str(self.site), *sys.path],
            "files": [str(self.declare(flaw.name, **flaw.declared)) for flaw in flaws],
            "groups": {flaw.name: list(flaw.groups) for flaw in flaws},
            "classes": {flaw.name: list(flaw.classes) for flaw in flaws},
            "answer": str(answer),
            "settings": str(self.place / "pytest.ini"),
        }
        request.write_text(json.dumps(told))
        process = subprocess.Popen(
            [sys.executable, str(_HERE / "many.py"), str(request)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return process, answer


def failures(report: Report) -> dict[str, str]:
    """Failed tests, by id without the class, and why."""
    return {each.id.partition("::")[2]: each.reason for each in report.of(Outcome.FAILED)}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path_factory.mktemp("workshop"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(workshop.site))
        # Threads of a library for matrices cost more than they help with such small ones.
        patch.setenv("OPENBLAS_NUM_THREADS", "1")
        yield workshop


def _flaw(name: str, module: Any, fields: dict[str, Any]) -> Flaw:
    kept = {key: value for key, value in fields.items() if key not in _SAID}
    return Flaw(name, groups=module.GROUPS, classes=getattr(module, "CLASSES", ()), **kept)


#: What the tests say about a flaw, which is none of the workshop's business.
_SAID = ("caught", "among")


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest, workshop: Workshop) -> dict[str, dict[str, str]]:
    """What the suite has against each of the module's ``FLAWS``, run in its ``GROUPS``."""
    module = request.module
    return workshop.run_all([_flaw(name, module, fields) for name, fields in module.FLAWS.items()])


@pytest.fixture
def told() -> Callable[[Report], dict[str, str]]:
    return failures
