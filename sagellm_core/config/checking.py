"""What is wrong with one layer of settings, each fault with the key that it is about."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sagellm_core.contract import ConfigurationError, InvalidSamplingError, SageLLMError
from sagellm_core.options import CALL_OPTIONS, LIMITS, LONGEST_ANSWER, check_options, check_timeout

from .schema import GeneratorConfig, device_number

#: Fields that are sampling options too, with the generator's own defaults.
SAMPLING_FIELDS = (*LIMITS, "temperature", "top_p", "top_k")

#: Names that other generators have for a field, and whose spelling is not near it.
_OTHER_NAMES = {
    "backend": "backend_type",
    "engine": "backend_type",
    "provider": "backend_type",
    "model": "model_path",
    "model_id": "model_path",
    "model_name": "model_path",
    "max_length": "max_model_len",
    "max_seq_len": "max_model_len",
    "seed": "default_options",
    "stop": "default_options",
    "min_p": "default_options",
    "repetition_penalty": "default_options",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    #: The key, and the keys inside its value; empty: it is about several.
    path: tuple[Any, ...]
    message: str
    hint: str
    #: Whether the key itself is wrong, and not its value.
    of_key: bool = False
    kind: type[SageLLMError] = ConfigurationError

    def error(self) -> SageLLMError:
        """The fault, to raise."""
        return self.kind(self.message, hint=self.hint)


def find_faults(values: Mapping[Any, Any]) -> list[Fault]:
    """Everything that is wrong with a layer; an empty list for a good one.

    A layer holds only what someone said. It must make sense by itself, so whatever layers are
    laid over each other, each error names the place that has to be mended.
    """
    faults = [*_unknown_keys(values)]
    known = {key: value for key, value in values.items() if key in GeneratorConfig.model_fields}
    for key in (*SAMPLING_FIELDS, "timeout"):
        if key in known and known[key] is not None:
            faults += _sampling_fault(key, known)
    bad = {fault.path[0] for fault in faults}
    sound = {key: value for key, value in known.items() if key not in bad}
    try:
        GeneratorConfig.model_validate(sound)
    except ValidationError as error:
        faults += [_of_validation(each) for each in error.errors(include_url=False)]
    bad = {fault.path[0] for fault in faults if fault.path}
    sound = {key: value for key, value in sound.items() if key not in bad}
    faults += _default_option_faults(sound.get("default_options", {}))
    faults += _contradictions(sound)
    if "device" in sound:
        try:
            device_number(sound["device"])
        except ConfigurationError as error:
            faults.append(Fault(("device",), error.message, error.hint))
    return faults


def meant(key: Any) -> str | None:
    """The field that an unknown key was probably meant to be."""
    name = str(key).strip().lower().replace("-", "_")
    if name in GeneratorConfig.model_fields:
        return name
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    near = difflib.get_close_matches(name, tuple(GeneratorConfig.model_fields), n=1)
    return near[0] if near else None


def _unknown_keys(values: Mapping[Any, Any]) -> Iterator[Fault]:
    for key in values:
        if key in GeneratorConfig.model_fields:
            continue
        near = meant(key)
        if near == "default_options":
            hint = f"It is an option of a call: write it into default_options, as {key!r} there."
        elif near:
            hint = f"Did you mean {near!r}?"
        else:
            hint = f"Known keys: {', '.join(GeneratorConfig.model_fields)}."
        shown = _shown(key)
        yield Fault((key,), f"Unknown configuration key {shown}.", hint, of_key=True)


def _sampling_fault(key: str, values: Mapping[str, Any]) -> Iterator[Fault]:
    value = values[key]
    try:
        if key == "timeout":
            check_timeout(value)
        else:
            _check_sampling({key: value})
    except SageLLMError as error:
        yield Fault((key,), error.message, error.hint, kind=type(error))


def _check_sampling(options: Mapping[str, Any]) -> None:
    check_options(options)
    for key in LIMITS:
        # None passes as an option of a call, where it means no limit.
        limit = options.get(key)
        if limit is not None and limit > LONGEST_ANSWER:
            raise InvalidSamplingError(
                f"{key}={_shown(limit)} is longer than the context of any model.",
                hint=f"Use at most {LONGEST_ANSWER}, or leave {key} out.",
            )


def _default_option_faults(options: Mapping[str, Any]) -> Iterator[Fault]:
    # One by one, so that each error knows its key; options of a call do not depend on each other.
    for key, value in options.items():
        try:
            _check_sampling({key: value})
        except SageLLMError as error:
            yield Fault(
                ("default_options", key),
                f"default_options: {error.message}",
                error.hint,
                of_key=key not in CALL_OPTIONS,
                kind=type(error),
            )


def _contradictions(values: Mapping[str, Any]) -> Iterator[Fault]:
    flags = [key for key in ("load_in_8bit", "load_in_4bit") if values.get(key)]
    if len(flags) == 2:
        yield Fault(
            ("load_in_4bit",),
            "load_in_8bit and load_in_4bit are both true.",
            'Keep one, or write quantization="int8" or "int4".',
        )
    elif flags:
        said, wanted = values.get("quantization"), f"int{flags[0][8]}"
        if said not in (None, wanted):
            yield Fault(
                ("quantization",),
                f"quantization={said!r} contradicts {flags[0]}=True.",
                "Keep one of the two.",
            )


def _of_validation(error: Any) -> Fault:
    path = tuple(part for part in error["loc"] if part != "[key]")
    key = ".".join(str(part) for part in path)
    value = error["input"]
    field = GeneratorConfig.model_fields.get(str(path[0])) if path else None
    about = f" {path[0]}: {field.description}" if field is not None and field.description else ""
    what = str(error["msg"])
    return Fault(
        path,
        f"{key}={_shown(value)} ({type(value).__name__}) is not valid: {what}.",
        f"Correct that value.{about}",
    )


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except (ValueError, RecursionError):  # an integer too long to print, a list within itself
        return f"a value of type {type(value).__name__}"
    return shown if len(shown) <= 60 else shown[:57] + "..."
