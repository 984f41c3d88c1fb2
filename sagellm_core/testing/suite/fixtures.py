"""What the suite's tests share within one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sagellm_core.contract.model import LoadVerdict
from sagellm_core.testing.finding import skip
from sagellm_core.testing.module_state import ModuleState, state_of
from sagellm_core.testing.subject import Subject
from sagellm_core.testing.tiny.model import ANY_MODEL
from sagellm_core.testing.workbench import Workbench


@pytest.fixture(scope="module")
def conformance_state(request: pytest.FixtureRequest) -> ModuleState:
    """The declaration, and what came of the tests so far."""
    return state_of(request.config, request.module)


@pytest.fixture(scope="module")
def subject(conformance_state: ModuleState) -> Subject:
    """The plugin under test."""
    return Subject(conformance_state.declaration, conformance_state.entry)


@pytest.fixture(scope="module")
def bench(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """Loads tiny models with the plugin, and closes them."""
    place: Path = tmp_path_factory.mktemp("conformance")
    bench = Workbench(subject, place)
    yield bench
    bench.close()


@pytest.fixture
def any_model(conformance_state: ModuleState, bench: Workbench) -> str:
    """The first model that the plugin can load, to generate or to embed with."""
    for name in (*conformance_state.decoders, *conformance_state.embedders):
        if bench.subject.can_load(bench.written(name).description).verdict != LoadVerdict.NO:
            return name
    return skip("The plugin can load none of the suite's models.")


@pytest.fixture
def model_on_disk(any_model: str) -> str:
    """The first model that the plugin can load, if it reads files."""
    if any_model == ANY_MODEL:
        skip("The plugin needs no model files.")
    return any_model


@pytest.fixture
def one_decoder(conformance_state: ModuleState, bench: Workbench) -> str:
    """The first model with which the plugin opens a runner."""
    for name in conformance_state.decoders:
        if bench.can_generate(name):
            return bench.has_runner(name)
    return skip("The plugin can generate with none of the suite's models.")
