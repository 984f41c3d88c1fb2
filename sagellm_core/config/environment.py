"""``SAGELLM_*`` variables: one for each field of the schema."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin

from sagellm_core.contract import ConfigurationError

from .checking import find_faults
from .schema import GeneratorConfig

#: Field to its variables: the documented one, then one that is understood too.
VARIABLES: Mapping[str, tuple[str, ...]] = {
    field: {
        "backend_type": ("SAGELLM_BACKEND", "SAGELLM_BACKEND_TYPE"),
        "model_path": ("SAGELLM_MODEL", "SAGELLM_MODEL_PATH"),
    }.get(field, (f"SAGELLM_{field.upper()}",))
    for field in GeneratorConfig.model_fields
}

#: Variables that are no field, and what they control.
CONTROLS: Mapping[str, str] = {
    "SAGELLM_CONFIG": "The configuration file of the commands and of from_config().",
    "SAGELLM_PLUGINS": "The only providers that auto may use.",
    "SAGELLM_PLUGIN_AUTOLOAD": "0: auto uses none but those in SAGELLM_PLUGINS.",
    "SAGELLM_DEVICE_ORDER": "The order of preference among providers.",
    "SAGELLM_OFFLINE": "1: nothing is downloaded.",
    "SAGELLM_BIN": "The sagellm program that SAGE starts.",
}

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off"})
#: How "no limit" is written where a number may be absent.
_NOTHING = frozenset({"none", "null"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,5})?", re.ASCII)


def read_environment(env: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Field to ``(variable, value)`` for each field that a variable sets.

    An empty variable, or one of white space, counts as unset.

    :raises ConfigurationError: a value that does not fit its field, or two variables of one
        field that differ; the message names variable and value, the hint what is allowed.
    """
    found: dict[str, tuple[str, Any]] = {}
    for field, names in VARIABLES.items():
        said = {name: env[name] for name in names if env.get(name, "").strip()}
        if not said:
            continue
        name, text = next(iter(said.items()))
        if len({each.strip() for each in said.values()}) > 1:
            both = " and ".join(f"{each}={_shown(value)}" for each, value in said.items())
            raise ConfigurationError(
                f"{both} differ, and both set {field}.", hint=f"Unset one of them; keep {names[0]}."
            )
        value = parse(name, field, text)
        for fault in find_faults({field: value}):
            raise ConfigurationError(f"{name}={_shown(text)}: {fault.message}", hint=fault.hint)
        found[field] = (name, value)
    return found


def parse(variable: str, field: str, text: str) -> Any:
    """The value that ``text`` writes for a field.

    :raises ConfigurationError: it writes none of the field's type.
    """
    kind, optional = _kind(field)
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        # os.environ shows bytes that are not UTF-8 as lone surrogates.
        raise _refused(variable, text, "is not UTF-8", "Write it in UTF-8.")
    word = text.strip()
    if optional and kind in (int, float) and word.lower() in _NOTHING:
        return None
    if kind is bool:
        if word.lower() not in _ON | _OFF:
            hint = "Use 1, true, yes or on; or 0, false, no or off."
            raise _refused(variable, text, "is neither on nor off", hint)
        return word.lower() in _ON
    if kind is int:
        if not _INTEGER.fullmatch(word):
            hint = "Write digits only, as in 64" + ("; or none." if optional else ".")
            raise _refused(variable, text, "is not an integer", hint)
        return int(word)
    if kind is float:
        if not _NUMBER.fullmatch(word):
            hint = "Write it as in 0.7" + ("; or none." if optional else ".")
            raise _refused(variable, text, "is not a number", hint)
        return float(word)
    if kind is dict:
        return _object(variable, text)
    if kind is tuple:
        words = (each.strip() for each in word.split(","))
        return tuple(dict.fromkeys(each for each in words if each))
    # A system prompt may begin with a space on purpose; a name or a path never does.
    return text if field == "system_prompt" else word


def unknown_variables(
    env: Mapping[str, str], providers: Collection[str] = ()
) -> list[tuple[str, str | None]]:
    """``SAGELLM_*`` variables that nothing here reads, each with the nearest known one.

    :param providers: names of installed plugins, whose variables are their own matter:
        ``SAGELLM_<NAME>_...``.
    """
    known = [*CONTROLS, *(name for names in VARIABLES.values() for name in names)]
    own = tuple(f"SAGELLM_{name.upper().replace('-', '_')}_" for name in providers)
    found = []
    for name in sorted(env):
        if name.startswith("SAGELLM_") and name not in known and not name.startswith(own):
            near = get_close_matches(name, known, n=1, cutoff=0.75)
            found.append((name, near[0] if near else None))
    return found


def _kind(field: str) -> tuple[type, bool]:
    """The plain type of a field, and whether it may be ``None``."""
    annotation = GeneratorConfig.model_fields[field].annotation
    arms: tuple[Any, ...] = (annotation,)
    if get_origin(annotation) in (Union, types.UnionType):
        arms = get_args(annotation)
    (arm,) = (each for each in arms if each is not type(None))
    origin = get_origin(arm)
    if origin is Literal:
        return str, len(arms) > 1
    return origin or arm, len(arms) > 1


def _object(variable: str, text: str) -> dict[str, Any]:
    hint = """Write a JSON object, as in '{"seed": 1}'."""
    try:
        value = json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, ValueError) else "nested too deep"
        raise _refused(variable, text, f"is not valid JSON ({why})", hint) from None
    if not isinstance(value, dict):
        raise _refused(variable, text, f"is a JSON {type(value).__name__}, not an object", hint)
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _refused(variable: str, text: str, what: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"{variable}={_shown(text)} {what}.", hint=hint)


def _shown(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."
