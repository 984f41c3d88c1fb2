"""What pytest knows of one file with a declaration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sagellm_core.contract.errors import ConfigurationError, SageLLMError
from sagellm_core.contract.plugin import Capability
from sagellm_core.providers import PluginEntry

from .declaration import Declaration
from .groups import OWN
from .marks import GROUP, NEEDS, PROVES, PROVES_UNWEIGHTED
from .plugin_lookup import find_plugin
from .result import CheckResult, Outcome
from .tiny.family import DECODERS, EMBEDDERS, FAMILIES
from .tiny.model import ANY_MODEL
from .verdicts import verdict
from .xfails import ExpectedFailures, read_xfails

#: After so many tests that had to be ended, the others that run the plugin are not tried.
MOST_HANGS = 2


@dataclass(slots=True)
class ModuleState:
    """A declaration, what is expected to fail, and what came of the tests so far."""

    declaration: Declaration
    entry: PluginEntry
    module: ModuleType
    xfails: ExpectedFailures
    #: Ids of the tests that are to run here.
    selected: dict[str, pytest.Item] = field(default_factory=dict)
    results: dict[str, CheckResult] = field(default_factory=dict)
    hangs: int = 0

    @property
    def decoders(self) -> tuple[str, ...]:
        """Models to generate with."""
        return self._models(DECODERS)

    @property
    def embedders(self) -> tuple[str, ...]:
        """Models to embed with."""
        return self._models(EMBEDDERS)

    def has_test(self, wanted: str) -> bool:
        """Whether the file has a test with that id; cases in brackets are not looked at."""
        place: object = self.module
        for name in wanted.partition("[")[0].split("::"):
            place = getattr(place, name, None)
        return callable(place) and not isinstance(place, type)

    def _models(self, known: tuple[str, ...]) -> tuple[str, ...]:
        if Capability.ANY_MODEL in self.declaration.capabilities:
            return (ANY_MODEL,)
        wanted = self.declaration.model_types
        # A case has to be there for the tests to be seen at all.
        return tuple(each for each in known if wanted is None or each in wanted) or known[:1]

    def verdict(self, capability: str) -> CheckResult:
        """Whether a declared capability has a test that passed in this process."""
        results = [self.results.get(key) or _not_run(item) for key, item in self.selected.items()]
        return verdict(capability, results, self.declaration)

    def why_not(self, item: pytest.Item) -> str:
        """Why a test does not apply to this plugin; empty where it does."""
        needed = needed_by(item)
        if needed and self.declaration.capabilities.isdisjoint(needed):
            return f"The plugin does not declare {' or '.join(map(repr, needed))}."
        params = _params(item)
        model = params.get("decoder") or params.get("encoder")
        wanted = self.declaration.model_types
        if wanted is not None and model in FAMILIES and model not in wanted:
            return "The declaration's model_types leave out all of these."
        return ""


_STATES = pytest.StashKey[dict[str, ModuleState]]()
#: Names a file in place of ``Declaration.xfails``.
XFAILS = pytest.StashKey[Path]()
#: Called with each result.
LISTENERS = pytest.StashKey[list[Callable[[CheckResult], None]]]()


def state_of(config: pytest.Config, module: ModuleType) -> ModuleState:
    """The state of a file, made from its ``DECLARATION`` when it is first asked for.

    :raises pytest.Collector.CollectError: there is none, or nothing could run under it.
    """
    states = config.stash.setdefault(_STATES, {})
    key = str(module.__file__)
    if key not in states:
        try:
            states[key] = _made(module, config.stash.get(XFAILS, None))
        except SageLLMError as error:
            raise pytest.Collector.CollectError(str(error)) from None
    return states[key]


def all_states(config: pytest.Config) -> list[ModuleState]:
    """Of every file that was collected."""
    return list(config.stash.setdefault(_STATES, {}).values())


def _made(module: ModuleType, xfails_path: Path | None) -> ModuleState:
    declaration = getattr(module, "DECLARATION", None)
    if not isinstance(declaration, Declaration):
        found = "is missing" if declaration is None else f"is a {type(declaration).__name__}"
        raise ConfigurationError(
            f"{module.__file__}: DECLARATION {found}.",
            hint="Write DECLARATION = Declaration(plugin='NAME', capabilities={...}) below the "
            "import of the suite; Declaration is in sagellm_core.testing.",
        )
    if xfails_path is None and declaration.xfails is not None:
        xfails_path = Path(module.__file__ or ".").parent / declaration.xfails
    xfails = ExpectedFailures() if xfails_path is None else read_xfails(xfails_path)
    return ModuleState(declaration, find_plugin(declaration.plugin), module, xfails)


def _not_run(item: pytest.Item) -> CheckResult:
    """A test that was selected, and ran in another process or not yet."""
    return CheckResult(
        id=id_of(item),
        group=group_of(item),
        outcome=Outcome.SKIPPED,
        reason="it did not run in this process; with pytest-xdist, use --dist loadfile",
        proves=proven_by(item),
    )


def id_of(item: pytest.Item) -> str:
    """A test's id within its file."""
    return item.nodeid.partition("::")[2]


def group_of(item: pytest.Item) -> str:
    """The group of a test; the vendor's own tests in the file are in none of the suite's."""
    return str(getattr(getattr(item, "cls", None), GROUP, OWN))


def proven_by(item: pytest.Item) -> tuple[str, ...]:
    """Capabilities that a test proves where it passes."""
    params = _params(item)
    unweighted = ANY_MODEL in (params.get("decoder"), params.get("encoder"))
    return tuple(getattr(_function(item), PROVES_UNWEIGHTED if unweighted else PROVES, ()))


def needed_by(item: pytest.Item) -> tuple[str, ...]:
    """Capabilities of which a test needs one."""
    function, kind = _function(item), getattr(item, "cls", None)
    found: tuple[str, ...] = getattr(function, NEEDS, ()) or getattr(kind, NEEDS, ())
    return found


def _params(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else dict(callspec.params)


def _function(item: pytest.Item) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(item, "function")  # noqa: B009 - not on every Item
    return function
