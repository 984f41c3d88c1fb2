"""The descriptors as JSON, for the way between the probe and its child processes.

What comes back from a plugin is checked field by field: Python's type hints bind nobody, and a
wrong type found here is a sentence about the plugin instead of a crash in the ranking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from sagellm_core.contract.device import DeviceInfo, DeviceState, Finding, Severity
from sagellm_core.contract.model import LoadAnswer, LoadVerdict, ModelDescription, ModelFormat
from sagellm_core.contract.plugin import DeviceClass, PluginInfo

E = TypeVar("E", bound=StrEnum)

#: Longest text that a plugin may put in one field, in characters.
MAX_TEXT = 20_000


class WireError(Exception):
    """A value is not what the contract says; the message names the field."""


def to_wire(value: PluginInfo | DeviceInfo | LoadAnswer | Finding) -> dict[str, Any]:
    """A descriptor as plain data. Values that JSON cannot hold become ``{"$type": name}``."""
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return [_plain(item) for item in sorted(value, key=str)]
    return {"$type": type(value).__name__}


def plugin_info(data: Any) -> PluginInfo:
    """:raises WireError: naming the field."""
    read = _Fields("PluginInfo", data)
    info = PluginInfo(
        name=read.text("name", required=True),
        vendor=read.text("vendor"),
        device_class=read.choice("device_class", DeviceClass),
        contract=read.text("contract"),
        capabilities=read.texts("capabilities"),
        priority=read.integer("priority"),
        description=read.text("description"),
    )
    read.end()
    return info


def device_info(data: Any) -> DeviceInfo:
    """:raises WireError: naming the field."""
    read = _Fields("DeviceInfo", data)
    device = DeviceInfo(
        id=read.text("id", required=True),
        state=read.choice("state", DeviceState),
        name=read.text("name"),
        reason=read.text("reason"),
        hint=read.text("hint"),
        memory_total=read.size("memory_total"),
        memory_free=read.size("memory_free"),
        driver=read.text("driver"),
        physical_id=read.text("physical_id"),
    )
    read.end()
    if device.state is not DeviceState.USABLE and not device.reason.strip():
        raise WireError(
            f"DeviceInfo.reason is empty for the device {device.id!r}, which is {device.state}"
        )
    return device


def device_infos(data: Any) -> tuple[DeviceInfo, ...]:
    """:raises WireError: naming the field; also for no device at all, or one id twice."""
    if not isinstance(data, list):
        raise WireError(f"the devices are {_kind(data)}, not a list")
    devices = tuple(device_info(item) for item in data)
    if not devices:
        raise WireError("the list of devices is empty; it needs an absent one with a reason")
    ids = [device.id for device in devices]
    for twice in ids:
        if ids.count(twice) > 1:
            raise WireError(f"DeviceInfo.id {twice!r} is given to {ids.count(twice)} devices")
    return devices


def load_answer(data: Any) -> LoadAnswer:
    """:raises WireError: naming the field."""
    read = _Fields("LoadAnswer", data)
    answer = LoadAnswer(
        verdict=read.choice("verdict", LoadVerdict),
        reason=read.text("reason"),
        hint=read.text("hint"),
        bytes_needed=read.size("bytes_needed"),
        capabilities=read.optional_texts("capabilities"),
    )
    read.end()
    if answer.verdict is not LoadVerdict.YES and not answer.reason.strip():
        raise WireError(f"LoadAnswer.reason is empty where the verdict is {answer.verdict}")
    return answer


def finding(data: Any) -> Finding:
    """:raises WireError: naming the field."""
    read = _Fields("Finding", data)
    found = Finding(
        severity=read.choice("severity", Severity),
        message=read.text("message", required=True),
        hint=read.text("hint"),
    )
    read.end()
    return found


def model_to_wire(model: ModelDescription) -> dict[str, Any]:
    """A description as plain data; paths become strings."""
    data = {field.name: getattr(model, field.name) for field in fields(model)}
    data["format"] = str(model.format)
    data["path"] = None if model.path is None else str(model.path)
    data["files"] = [str(path) for path in model.files]
    data["config"] = _mapping(model.config)
    return data


def _mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _mapping(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mapping(item) for item in value]
    return value


def model_from_wire(data: Mapping[str, Any]) -> ModelDescription:
    """The description that :func:`model_to_wire` wrote: core's own words, so not checked."""
    return ModelDescription(
        **{
            **data,
            "format": ModelFormat(data["format"]),
            "path": None if data["path"] is None else Path(data["path"]),
            "files": tuple(Path(path) for path in data["files"]),
        }
    )


class _Fields:
    """Reads the fields of one descriptor, each exactly once."""

    def __init__(self, owner: str, data: Any) -> None:
        if not isinstance(data, dict):
            raise WireError(f"{owner} is {_kind(data)}, not an object")
        self._owner = owner
        self._rest = dict(data)

    def text(self, name: str, *, required: bool = False) -> str:
        value = self._take(name, "a string", lambda item: isinstance(item, str))
        text = str(value)
        if required and not text.strip():
            raise WireError(f"{self._owner}.{name} is empty")
        if len(text) > MAX_TEXT:
            raise WireError(f"{self._owner}.{name} is {len(text)} characters long")
        return text

    def texts(self, name: str) -> frozenset[str]:
        return frozenset(self._take(name, "a set of strings", _are_texts))

    def optional_texts(self, name: str) -> frozenset[str] | None:
        value = self._take(
            name, "a set of strings or None", lambda item: item is None or _are_texts(item)
        )
        return None if value is None else frozenset(value)

    def integer(self, name: str) -> int:
        return int(self._take(name, "an integer", lambda item: type(item) is int))

    def size(self, name: str) -> int | None:
        """A number of bytes."""
        value = self._take(
            name,
            "a number of bytes or None",
            lambda item: item is None or (type(item) is int and item >= 0),
        )
        return None if value is None else int(value)

    def choice(self, name: str, kind: type[E]) -> E:
        values = [str(member) for member in kind]
        wanted = f"one of {', '.join(values)}"
        return kind(self._take(name, wanted, lambda item: isinstance(item, str) and item in values))

    def end(self) -> None:
        if self._rest:
            raise WireError(f"{self._owner} has unknown fields: {', '.join(sorted(self._rest))}")

    def _take(self, name: str, wanted: str, fits: Callable[[Any], bool]) -> Any:
        if name not in self._rest:
            raise WireError(f"{self._owner}.{name} is missing")
        value = self._rest.pop(name)
        if not fits(value):
            raise WireError(f"{self._owner}.{name} is {_kind(value)}, not {wanted}")
        return value


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _kind(value: Any) -> str:
    """A value for a sentence: what it is, and itself where it is short."""
    if isinstance(value, dict) and set(value) == {"$type"}:
        return f"a {value['$type']}"
    if value is None or isinstance(value, (bool, int, float, str)):
        shown = repr(value)
        return shown if len(shown) <= 60 else f"{shown[:57]}..."
    return {"dict": "an object", "list": "a list"}.get(type(value).__name__, "something else")


def one_line(text: str, limit: int = 500) -> str:
    """A text that a plugin wrote, safe to print inside a sentence."""
    flat = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())
    return flat if len(flat) <= limit else f"{flat[: limit - 3]}..."


def strings(data: Any) -> Iterable[str]:
    """The strings of a list; anything else is left out."""
    return [item for item in data if isinstance(item, str)] if isinstance(data, list) else []
