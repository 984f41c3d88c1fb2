from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.cli.pipeline_create import command
from sagellm_core.pipeline.creation import program_text, yaml_text
from sagellm_core.pipeline.settings import KINDS, RUNTIMES, Plan, names_of, read_plan

# YAML and Python have no lone surrogates, and config files no control characters.
PATHS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff"),
    max_size=30,
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    kind = draw(st.sampled_from(sorted(KINDS)))
    values: dict[str, Any] = {
        "documents": draw(PATHS),
        "index": draw(st.none() | PATHS),
        "chunk_size": draw(st.integers(1, 9999)),
        "chunk_overlap": draw(st.integers(0, 99)),
        "top_k": draw(st.integers(1, 99)),
        "normalize": draw(st.booleans()),
        "dense_weight": draw(st.floats(0, 9)),
        "sparse_weight": 0.4,
        "embedding": {"backend_type": "mock", "model_path": draw(PATHS), "batch_size": 3},
        "generator": {"sagellm": {"backend_type": "mock", "model_path": draw(PATHS)}},
    }
    settings = {name: values[name] for name in names_of(kind)}
    return Plan(kind=kind, runtime=draw(st.sampled_from(["plain", "sage"])), settings=settings)


@given(plans())
def test_a_program_has_the_settings_that_it_was_given(plan: Plan) -> None:
    source = program_text(plan)
    start, end = source.index("SETTINGS"), source.index("\n}\n") + 3
    names: dict[str, Any] = {"Any": Any}
    exec(source[start:end], names)
    assert names["SETTINGS"] == plan.settings
    compile(source, "program", "exec")
    assert ("sagellm_sage.pipelines" in source) == (plan.runtime == "sage")


@given(plans())
def test_a_yaml_file_says_the_plan_that_it_was_made_from(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "plan.yaml")
        file.write_text(yaml_text(plan), encoding="utf-8")
        assert read_plan(file) == plan


def test_the_command_offers_the_kinds_and_runtimes_that_there_are() -> None:
    offered = {parameter.name: parameter.type for parameter in command.params}
    assert list(offered["kind"].choices) == list(KINDS)
    assert list(offered["runtime"].choices) == list(RUNTIMES)
