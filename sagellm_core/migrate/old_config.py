"""From an old generator's configuration to ``generator.sagellm``, entry by entry.

The old sections configured a client (``OpenAIGenerator``) of a vLLM server or a Hugging Face
pipeline (``HFGenerator``). Where that server is this machine, its model can be loaded here
instead; where it is another one, the section stays, because it says who answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from sagellm_core.config import FIELDS
from sagellm_core.config.checking import find_faults
from sagellm_core.options import CALL_OPTIONS

from .endpoint import is_local
from .finding import NotUnderstoodError


class Unknown(Enum):
    """A value that only the running program knows."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN

#: Names of sections below ``generator`` that held such a configuration.
SECTIONS = ("vllm", "openai", "hf", "huggingface")
MODEL_KEYS = ("model_name", "model", "model_path")
_METHODS = frozenset(("openai", "vllm", "hf", "huggingface", "local"))
#: Said how to reach the server; there is none any more.
_OF_THE_CLIENT = frozenset(("method", "base_url", "api_key", "service_name"))
#: Tuned the server; sagellm decides these by itself, or has them under another name.
_OF_THE_SERVER = frozenset(
    (
        "disable_log_requests",
        "disable_log_stats",
        "enable_prefix_caching",
        "enforce_eager",
        "gpu_memory_utilization",
        "host",
        "max_num_batched_tokens",
        "port",
        "swap_space",
        "tensor_parallel_size",
    )
)
#: ``org/name`` with an optional revision, a path, or a GGUF file.
_MODEL = re.compile(r"(?:[\w.~-]*/)+[\w.@:+-]+|[\w.+-]+\.gguf", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the old configuration and its value, where it is written out."""

    key: str
    value: Any = UNKNOWN


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one entry."""

    what: Literal["keep", "rename", "drop", "option"]
    #: The new key, unless it is dropped.
    key: str = ""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What becomes of a configuration."""

    #: One for each entry, in order.
    steps: tuple[Step, ...]
    #: A model to write, where no entry names one.
    model_to_add: str
    #: The model that the result names; empty where only the running program knows it.
    model: str
    #: What is lost and could matter.
    losses: tuple[str, ...]


def convert(
    entries: Sequence[Entry], *, section: str, chosen_model: str, backend: str
) -> Conversion:
    """Decide what becomes of each entry.

    :param section: the name of the section, or ``openai`` or ``hf`` for an operator's argument.
    :param chosen_model: the model to write where the entries name none.
    :raises NotUnderstoodError: another machine, an unknown key, no model, or a value that the
        new schema refuses.
    """
    values = {entry.key: entry.value for entry in entries}
    if len(values) < len(entries):
        raise NotUnderstoodError("a key stands twice")
    _check_endpoint(values, section)
    method = values.get("method", "vllm")
    if method not in _METHODS:
        raise NotUnderstoodError(f"method {_shown(method)} is not one of {sorted(_METHODS)}")
    named = [key for key in MODEL_KEYS if key in values]
    if len(named) > 1:
        raise NotUnderstoodError(f"both {named[0]} and {named[1]} name a model")
    if named:
        _check_model(named[0], values[named[0]])
    elif not chosen_model:
        raise NotUnderstoodError("no model is named; say which one with --model")
    steps = tuple(_step(entry) for entry in entries)
    _check_result(entries, steps, chosen_model, backend)
    losses = tuple(
        f"{entry.key}: {_shown(entry.value)} has no counterpart and was dropped"
        for entry in entries
        if entry.key in _OF_THE_SERVER
    )
    model = values[named[0]] if named else chosen_model
    return Conversion(
        steps, "" if named else chosen_model, "" if model is UNKNOWN else model, losses
    )


def _check_endpoint(values: dict[str, Any], section: str) -> None:
    base_url = values.get("base_url")
    if base_url is None:
        if section == "openai" and values.get("method", "openai") == "openai":
            raise NotUnderstoodError("without base_url, OpenAI's own service answers")
        return
    if base_url is UNKNOWN or not isinstance(base_url, str) or "$" in base_url:
        raise NotUnderstoodError("base_url is only known when the program runs")
    if not is_local(base_url):
        raise NotUnderstoodError(
            f"base_url {base_url} is another machine; loading the model here instead would "
            "change who answers"
        )


def _check_model(key: str, value: Any) -> None:
    if value is UNKNOWN:
        return
    if not isinstance(value, str) or not value or "$" in value:
        raise NotUnderstoodError(f"{key} {_shown(value)} is only known when the program runs")
    if not _MODEL.fullmatch(value):
        raise NotUnderstoodError(
            f"{key} {_shown(value)} is a name that the server was given, not a model reference; "
            "write org/name or a path in its place"
        )


def _step(entry: Entry) -> Step:
    key = entry.key
    if key in MODEL_KEYS:
        return Step("keep" if key == "model_path" else "rename", "model_path")
    if key in _OF_THE_CLIENT or key in _OF_THE_SERVER:
        return Step("drop")
    if key in FIELDS:
        return Step("keep", key)
    if key in CALL_OPTIONS:
        return Step("option", key)
    raise NotUnderstoodError(f"the key {key} has no counterpart; remove it, then migrate again")


def _check_result(
    entries: Sequence[Entry], steps: Sequence[Step], chosen_model: str, backend: str
) -> None:
    result: dict[str, Any] = {"backend_type": backend, "model_path": chosen_model}
    options: dict[str, Any] = {}
    for entry, step in zip(entries, steps, strict=True):
        if entry.value is UNKNOWN or step.what == "drop":
            continue
        (options if step.what == "option" else result)[step.key] = entry.value
    if options:
        if any(step.key == "default_options" for step in steps):
            raise NotUnderstoodError("default_options stands beside options of its own")
        result["default_options"] = options
    faults = find_faults(result)
    if faults:
        raise NotUnderstoodError(f"the new section would not be valid: {faults[0].message}")


def _shown(value: Any) -> str:
    return "..." if value is UNKNOWN else repr(value)
