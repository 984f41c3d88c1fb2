"""The schema as JSON Schema (draft 2020-12), for editors."""

from __future__ import annotations

import json
from typing import Any

from sagellm_core.options import CALL_OPTIONS, LONGEST_ANSWER

from .schema import SECTION, GeneratorConfig

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT_OR_LIST = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}},
        {"type": "null"},
    ]
}
_LIMIT = {"type": ["integer", "null"], "minimum": 1, "maximum": LONGEST_ANSWER}
_PENALTY = {"type": "number", "minimum": -2, "maximum": 2}
#: What ``options.check_options`` accepts.
_OPTIONS: dict[str, dict[str, Any]] = {
    "max_tokens": _LIMIT,
    "max_new_tokens": _LIMIT,
    "temperature": {"type": "number", "minimum": 0},
    "top_k": {"type": "integer", "minimum": -1},
    "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "min_p": {"type": "number", "minimum": 0, "maximum": 1},
    "repetition_penalty": {"type": "number", "exclusiveMinimum": 0},
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "logit_bias": {
        "type": ["object", "null"],
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
    },
    "seed": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**63 - 1},
    "stop": _TEXT_OR_LIST,
    "stop_token_ids": {"type": ["array", "null"], "items": {"type": "integer", "minimum": 0}},
    "ignore_eos": {"type": "boolean"},
    "logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20},
    "timeout": {"type": ["number", "null"], "exclusiveMinimum": 0},
    "prompt_format": {"enum": ["auto", "chat", "raw"]},
    "priority": {"type": "integer"},
}


def json_schema(section: str = SECTION) -> dict[str, Any]:
    """The schema of a whole ``config.yaml`` with the section in it.

    Other sections may hold anything; the section may hold the known keys only.
    """
    schema: dict[str, Any] = _section()
    for part in reversed(section.split(".")):
        schema = {"type": "object", "properties": {part: schema}, "additionalProperties": True}
    return {
        "$schema": _DIALECT,
        "title": f"config.yaml with a section {section}",
        **schema,
    }


def json_schema_text(section: str = SECTION) -> str:
    """The schema as it is published."""
    return json.dumps(json_schema(section), indent=2, ensure_ascii=False) + "\n"


def _section() -> dict[str, Any]:
    whole = GeneratorConfig.model_json_schema()
    properties = {}
    for name, described in whole["properties"].items():
        entry = {key: value for key, value in described.items() if key != "title"}
        # The description first: it is what a reader of the file looks for.
        properties[name] = {"description": entry.pop("description"), **entry}
    properties["default_options"] |= {
        "properties": {name: _OPTIONS[name] for name in sorted(CALL_OPTIONS)},
        "additionalProperties": False,
    }
    return {
        "title": SECTION,
        "description": "What SageLLMGenerator is made from.",
        # A section whose keys are all commented out is null.
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
    }
