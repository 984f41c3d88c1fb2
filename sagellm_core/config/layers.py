"""Who wins: arguments over variables over the file over defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sagellm_core.contract import ConfigurationError
from sagellm_core.options import LIMITS

from .checking import SAMPLING_FIELDS, find_faults
from .environment import read_environment
from .schema import ONE_WISH, POSITIONAL_FIELDS, GeneratorConfig

if TYPE_CHECKING:
    from .section import Section


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    kind: Literal["argument", "variable", "file", "default"]
    #: The variable's name, or ``FILE:LINE``; empty for the others.
    where: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source said."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration, and where each field's value came from."""

    config: GeneratorConfig
    origins: Mapping[str, Origin]


def resolve(
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    section: Section | None = None,
    env: Mapping[str, str] | None = None,
) -> Resolved:
    """Lay arguments, variables, a file's section and defaults over each other.

    :param args: a constructor's positional arguments: fields in order, or one mapping, or one
        ``GeneratorConfig``, over which only ``kwargs`` are laid.
    :param env: ``None``: this process's environment, as it is now.
    :raises ConfigurationError: as :meth:`GeneratorConfig.from_arguments`, and for the first
        fault of the section.
    """
    layers = []
    done = isinstance(args[0], GeneratorConfig) if args else False
    if not done:
        if section is not None:
            layers.append(section.layer())
        layers.append(_of_environment(os.environ if env is None else env))
    layers += _of_arguments(args, kwargs or {})
    merged = _lay(layers)
    # Not validated once more: each layer was, and model_fields_set is what somebody said.
    config = GeneratorConfig.model_validate(merged.values)
    default = Origin("default")
    return Resolved(
        config, {name: merged.origins.get(name, default) for name in GeneratorConfig.model_fields}
    )


def _of_environment(env: Mapping[str, str]) -> Layer:
    found = read_environment(env)
    return Layer(
        {name: value for name, (_, value) in found.items()},
        {name: Origin("variable", variable) for name, (variable, _) in found.items()},
    )


def _of_arguments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Layer]:
    """The positional configuration and the keywords; both are arguments and may not overlap."""
    if args and isinstance(args[0], GeneratorConfig):
        _refuse_more_than_one(args)
        # exclude_unset keeps "was it set by anyone" true to the original.
        given = args[0].model_dump(exclude_unset=True)
        return [_of_values(given), _of_values(kwargs)]
    return [_of_values(_bind(args, kwargs))]


def _of_values(values: Mapping[str, Any]) -> Layer:
    for fault in find_faults(values):
        raise fault.error()
    return Layer(dict(values), dict.fromkeys(values, Origin("argument")))


def _bind(args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if args and isinstance(args[0], Mapping):
        _refuse_more_than_one(args)
        values = dict(args[0])
    else:
        if len(args) > len(POSITIONAL_FIELDS):
            raise ConfigurationError(
                f"{len(args)} positional arguments were given; there are {len(POSITIONAL_FIELDS)}.",
                hint="Pass the others by keyword.",
            )
        values = dict(zip(POSITIONAL_FIELDS, args, strict=False))
    twice = sorted(set(values) & set(kwargs), key=str)
    if twice:
        raise ConfigurationError(f"{twice[0]} was given twice.", hint="Give each argument once.")
    return values | dict(kwargs)


def _refuse_more_than_one(args: Sequence[Any]) -> None:
    if len(args) > 1:
        raise ConfigurationError(
            "A configuration dict must be the only positional argument.",
            hint="Put the other values into the dict, or pass them by keyword.",
        )


def _lay(layers: Sequence[Layer]) -> Layer:
    """Lay each layer over those before it."""
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for layer in layers:
        said = dict(layer.values)
        before = origins.get("backend_type")
        if said.get("backend_type") in ("auto", "") and before and before.kind == "variable":
            del said["backend_type"]  # SAGELLM_BACKEND says what auto means
        if "disable_plugins" in said:
            # A layer can only forbid more: what is forbidden somewhere stays forbidden.
            names = (*values.get("disable_plugins", ()), *said["disable_plugins"])
            said["disable_plugins"] = tuple(dict.fromkeys(names))
        for wish in ONE_WISH:
            if any(_says(key, said) for key in wish):
                for key in wish:
                    values.pop(key, None)
                    origins.pop(key, None)
        _take_back_options(values, said)
        for key, value in said.items():
            values[key] = value
            origins[key] = layer.origins[key]
    return Layer(values, origins)


def _says(key: str, said: Mapping[str, Any]) -> bool:
    # load_in_8bit=False wishes nothing, and positional callers cannot leave it out.
    return key in said and not (key.startswith("load_in_") and not said[key])


def _take_back_options(values: dict[str, Any], said: Mapping[str, Any]) -> None:
    """Remove from lower ``default_options`` what is said now as a field.

    Within one layer ``default_options`` come after the fields; a lower layer's must not win
    over a higher one's field.
    """
    options = values.get("default_options")
    if not options or "default_options" in said:
        return
    gone = {key for key in (*SAMPLING_FIELDS, "timeout", "prompt_format") if key in said}
    if gone & set(LIMITS):
        gone.update(LIMITS)
    if gone & set(options):
        values["default_options"] = {
            key: value for key, value in options.items() if key not in gone
        }
