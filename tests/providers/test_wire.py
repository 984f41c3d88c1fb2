"""Descriptors as JSON and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagellm_core.contract import (
    DeviceClass,
    DeviceInfo,
    DeviceState,
    Finding,
    LoadAnswer,
    LoadVerdict,
    ModelDescription,
    ModelFormat,
    PluginInfo,
    Severity,
)
from sagellm_core.providers import wire

words = st.text(max_size=30)
filled = st.text(min_size=1, max_size=30).filter(str.strip)
sizes = st.none() | st.integers(0, 2**60)
infos = st.builds(
    PluginInfo,
    name=filled,
    vendor=words,
    device_class=st.sampled_from(DeviceClass),
    contract=words,
    capabilities=st.frozensets(words, max_size=4),
    priority=st.integers(),
    description=words,
)
devices = st.builds(
    DeviceInfo,
    id=filled,
    state=st.sampled_from(DeviceState),
    name=words,
    reason=filled,
    hint=words,
    memory_total=sizes,
    memory_free=sizes,
    driver=words,
    physical_id=words,
)
answers = st.builds(
    LoadAnswer,
    verdict=st.sampled_from(LoadVerdict),
    reason=filled,
    hint=words,
    bytes_needed=sizes,
    capabilities=st.none() | st.frozensets(words, max_size=4),
)
findings = st.builds(Finding, severity=st.sampled_from(Severity), message=filled, hint=words)
paths = st.from_regex(r"/[a-zé\udc80 ]{1,9}", fullmatch=True).map(Path)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
models = st.builds(
    ModelDescription,
    reference=words,
    format=st.sampled_from(ModelFormat),
    path=st.none() | paths,
    model_type=words,
    architecture=words,
    config=st.dictionaries(words, values, max_size=3),
    files=st.lists(paths, max_size=3).map(tuple),
    context_length=sizes,
    vocab_size=sizes,
    parameter_count=sizes,
    weight_bytes=sizes,
    weight_dtype=words,
    revision=words,
)


def over(value: Any) -> Any:
    return json.loads(json.dumps(value))


@given(infos)
def test_plugin_info(info: PluginInfo) -> None:
    assert wire.plugin_info(over(wire.to_wire(info))) == info


@given(devices)
def test_device_info(device: DeviceInfo) -> None:
    assert wire.device_info(over(wire.to_wire(device))) == device


@given(answers)
def test_load_answer(answer: LoadAnswer) -> None:
    assert wire.load_answer(over(wire.to_wire(answer))) == answer


@given(findings)
def test_finding(finding: Finding) -> None:
    assert wire.finding(over(wire.to_wire(finding))) == finding


@given(models)
def test_model(model: ModelDescription) -> None:
    assert wire.model_from_wire(over(wire.model_to_wire(model))) == model


def test_tuples_and_mappings_in_a_model_config_become_plain() -> None:
    model = ModelDescription(reference="m", format=ModelFormat.GGUF, config={"a": (1, {"b": ()})})
    assert over(wire.model_to_wire(model))["config"] == {"a": [1, {"b": []}]}


@given(st.sampled_from(["plugin_info", "device_info", "device_infos", "load_answer"]), values)
def test_nonsense_raises_nothing_but_wire_errors(reader: str, data: Any) -> None:
    with pytest.raises(wire.WireError):
        getattr(wire, reader)(data)


@given(devices, st.data())
def test_a_field_of_another_type_is_named(device: DeviceInfo, data: st.DataObject) -> None:
    plain = over(wire.to_wire(device))
    field = data.draw(st.sampled_from(sorted(plain)))
    plain[field] = data.draw(st.sampled_from([[], 1.5, {"$type": "ndarray"}]))
    with pytest.raises(wire.WireError, match=rf"DeviceInfo\.{field} is"):
        wire.device_info(plain)


def test_missing_and_unknown_fields_are_named() -> None:
    plain = over(wire.to_wire(LoadAnswer(verdict=LoadVerdict.YES)))
    with pytest.raises(wire.WireError, match="unknown fields: mood"):
        wire.load_answer({**plain, "mood": 1})
    del plain["reason"]
    with pytest.raises(wire.WireError, match=r"LoadAnswer\.reason is missing"):
        wire.load_answer(plain)


@pytest.mark.parametrize("value", [[1], "embed", {"$type": "dict"}, 3])
def test_capabilities_of_a_model_are_strings(value: Any) -> None:
    plain = over(wire.to_wire(LoadAnswer(verdict=LoadVerdict.YES)))
    with pytest.raises(wire.WireError, match=r"LoadAnswer\.capabilities is .*strings or None"):
        wire.load_answer({**plain, "capabilities": value})


def test_an_endless_text_is_refused() -> None:
    plain = over(wire.to_wire(LoadAnswer(verdict=LoadVerdict.NO, reason="x" * 1_000_000)))
    with pytest.raises(wire.WireError, match="1000000 characters"):
        wire.load_answer(plain)


@given(st.text(max_size=2000))
def test_one_line_is_one_printable_line(text: str) -> None:
    line = wire.one_line(text, 100)
    assert len(line) <= 100
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in line)
