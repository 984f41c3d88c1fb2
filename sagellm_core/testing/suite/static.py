"""Group ``static``: what importing a plugin costs and changes, and what it registers."""

from __future__ import annotations

import sys

import pytest

from sagellm_core.providers.child import HEAVY_MODULES
from sagellm_core.providers.naming import name_problem
from sagellm_core.testing.errand import Errand
from sagellm_core.testing.errands.import_effects import ASPECTS, CODE
from sagellm_core.testing.errands.import_time import import_time_code
from sagellm_core.testing.finding import fail, require
from sagellm_core.testing.marks import group
from sagellm_core.testing.module_state import ModuleState
from sagellm_core.testing.subject import Subject

#: Seconds that importing a plugin may take, beyond the contract itself.
IMPORT_LIMIT = 0.05
#: A busy machine is no fault of the plugin's: the best of so many imports counts.
_IMPORTS = 7
#: Seconds that an errand may take.
_PATIENCE = 20.0
#: Modules that importing a plugin must not bring: stage S2 is early enough for them.
_HEAVY = ("numpy", *HEAVY_MODULES)


@pytest.fixture(scope="module")
def import_effects(subject: Subject) -> dict[str, list[str]]:
    """What importing the plugin changes, by aspect; ``output`` is what it writes.

    Two more lists: what is wrong with its ``hooks``, and those that are ``unmarked``.
    """
    errand = Errand(CODE, {"module": subject.entry.module})
    effects: dict[str, list[str]] = errand.run("Importing the plugin", _PATIENCE)
    effects["output"] = [repr(errand.output[:200])] if errand.output else []
    return effects


@group("static")
class TestStatic:
    """The plugin's module, before any of its hooks is called."""

    def test_import_is_quick(self, subject: Subject) -> None:
        """Stage S1 imports the module in every ``auto``: 50 ms beyond the contract itself."""
        best = float("inf")
        for _ in range(_IMPORTS):
            code = import_time_code(subject.entry.module, sys.path)
            best = min(best, Errand(code, {}).run("Importing the plugin", _PATIENCE))
            if best <= IMPORT_LIMIT:
                return
        fail(
            f"Importing {subject.entry.module} takes {best * 1000:.0f} ms, the best of {_IMPORTS} "
            f"times; {IMPORT_LIMIT * 1000:.0f} ms are allowed. Import inside the S2 hooks what "
            "only they need."
        )

    def test_import_brings_nothing_heavy(self, import_effects: dict[str, list[str]]) -> None:
        """No torch, no NumPy, before a model is loaded."""
        brought = [name for name in _HEAVY if f"{name} is new" in import_effects["modules"]]
        require(
            not brought,
            f"Importing the plugin imports {', '.join(brought)}. Import it inside the S2 hooks.",
        )

    @pytest.mark.parametrize("aspect", [*ASPECTS, "output"])
    def test_import_changes_no(self, import_effects: dict[str, list[str]], aspect: str) -> None:
        """A plugin that is only looked at leaves the process as it was."""
        found = import_effects[aspect]
        shown = "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")
        require(not found, f"Importing the plugin changes the {aspect}: {shown}.")

    def test_hooks_are_the_contracts(self, import_effects: dict[str, list[str]]) -> None:
        """Known names, the contract's arguments, and the required ones are there."""
        problems = import_effects["hooks"]
        require(not problems, " ".join(problems))

    def test_hooks_are_marked(self, subject: Subject, import_effects: dict[str, list[str]]) -> None:
        """Core does not call what is not marked with ``@hookimpl``."""
        unmarked = import_effects["unmarked"]
        require(
            not unmarked,
            f"{subject.entry.module} has functions that look like hooks and are not marked with "
            f"@hookimpl: {', '.join(unmarked)}. Core never calls them.",
        )

    def test_info_fits_the_entry_point(self, subject: Subject) -> None:
        """Its name is the entry point's and well formed, and people can read whose it is."""
        info = subject.info
        require(
            info.name == subject.entry.name,
            f"PluginInfo.name is {info.name!r}, and the entry point is named "
            f"{subject.entry.name!r}.",
        )
        problem = name_problem(info.name)
        require(not problem, f"The plugin cannot be used: {problem}.")
        require(info.vendor.strip(), "PluginInfo.vendor is empty: people read it.")

    def test_capabilities_are_the_declared_ones(
        self, subject: Subject, conformance_state: ModuleState
    ) -> None:
        """The declaration and ``sagellm_plugin_info`` say the same."""
        declared = set(conformance_state.declaration.capabilities)
        said = {str(each) for each in subject.info.capabilities}
        if declared != said:
            fail(
                f"The declaration has {_listed(declared)}, and sagellm_plugin_info says "
                f"{_listed(said)}."
            )

    def test_expected_failures_name_tests(self, conformance_state: ModuleState) -> None:
        """Every line of the file of expected failures is about a test that there is."""
        unknown = [
            f"line {entry.line}, {entry.id}"
            for entry in conformance_state.xfails.entries
            if not conformance_state.has_test(entry.id)
        ]
        require(
            not unknown,
            f"{conformance_state.xfails.path} names tests that do not exist: {'; '.join(unknown)}.",
        )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
