"""Options of one call, as ``execute(data, **options)`` and the CLI take them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from .contract import InvalidRequestError, SamplingParams

PromptFormat = Literal["auto", "chat", "raw"]

_SAMPLING_KEYS = tuple(field.name for field in fields(SamplingParams))
#: The two names of the limit on new tokens.
LIMITS = ("max_tokens", "max_new_tokens")
#: As a ceiling on answers, more than this many tokens can only be a slip.
LONGEST_ANSWER = 10_000_000
#: Every option of a call.
CALL_OPTIONS = (*_SAMPLING_KEYS, "max_new_tokens", "timeout", "prompt_format", "priority")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of one call, checked."""

    sampling: SamplingParams
    #: Seconds, or ``None`` for no limit.
    timeout: float | None
    prompt_format: PromptFormat
    priority: int
    #: Whether ``max_tokens`` comes from the configuration. Then it is a ceiling, and a model
    #: with a shorter context simply has a lower one; what a call asks for is taken at its word.
    configured_limit: bool

    def sampling_within(self, context_length: int) -> SamplingParams:
        """The sampling parameters for a model with this context, in tokens."""
        limit = self.sampling.max_tokens
        if self.configured_limit and limit is not None and limit > context_length:
            return replace(self.sampling, max_tokens=context_length)
        return self.sampling


def call_options(base: Mapping[str, Any], *layers: Mapping[str, Any]) -> CallOptions:
    """Lay options over each other, later ones winning, and check the outcome.

    ``max_tokens`` and ``max_new_tokens`` are one option: a layer that sets either replaces
    what the layers below set; a layer that sets both means the smaller.

    :param base: options that were checked before.
    :raises InvalidRequestError: an unknown option (with the nearest known one).
    :raises InvalidSamplingError: a value of the wrong type or out of its range.
    """
    merged = _one_limit(base)
    for layer in layers:
        check_options(layer)
        merged |= _one_limit(layer)
    return CallOptions(
        sampling=_sampling(merged),
        timeout=merged.get("timeout"),
        prompt_format=merged.get("prompt_format", "auto"),
        priority=merged.get("priority", 0),
        configured_limit=not any(key in layer for layer in layers for key in LIMITS),
    )


def check_options(options: Mapping[str, Any]) -> None:
    """Check one layer of options by itself.

    :raises InvalidRequestError: as in :func:`call_options`.
    """
    if not isinstance(options, Mapping):
        raise InvalidRequestError(
            f"options is of type {type(options).__name__}, not a mapping.",
            hint='Write them as in {"max_tokens": 64, "temperature": 0}.',
        )
    for key in options:
        if key not in CALL_OPTIONS:
            near = difflib.get_close_matches(str(key), CALL_OPTIONS, n=1)
            raise InvalidRequestError(
                f"Unknown option {key!r}.",
                hint=f"Did you mean {near[0]!r}?"
                if near
                else f"Known options: {', '.join(sorted(CALL_OPTIONS))}.",
            )
    if "max_new_tokens" in options:
        # Checked under the sampling parameter's rules, reported under the name that was used.
        try:
            SamplingParams(max_tokens=options["max_new_tokens"])
        except InvalidRequestError as error:
            raise type(error)(
                error.message.replace("max_tokens", "max_new_tokens"),
                hint=error.hint.replace("max_tokens", "max_new_tokens"),
            ) from None
    _sampling(options)
    if "timeout" in options:
        check_timeout(options["timeout"])
    wanted = options.get("prompt_format", "auto")
    if wanted not in get_args(PromptFormat):
        raise InvalidRequestError(
            f"prompt_format={wanted!r} is not known.", hint='Use "auto", "chat" or "raw".'
        )
    priority = options.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise InvalidRequestError(
            f"priority={priority!r} is not an integer.", hint="Smaller numbers run earlier."
        )


def check_timeout(value: Any) -> None:
    """Check a timeout in seconds.

    :raises InvalidRequestError: neither ``None`` nor a finite number above 0.
    """
    if value is None:
        return
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (good and math.isfinite(value) and value > 0):
        raise InvalidRequestError(
            f"timeout={value!r} ({type(value).__name__}) is not valid.",
            hint="timeout must be a number of seconds above 0, or None for no limit.",
        )


def _one_limit(options: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(options)
    limit = merged.pop("max_new_tokens", None)
    if limit is not None:
        other = merged.get("max_tokens")
        merged["max_tokens"] = limit if other is None else min(limit, other)
    return merged


def _sampling(options: Mapping[str, Any]) -> SamplingParams:
    values = {key: options[key] for key in _SAMPLING_KEYS if key in options}
    # -1 is how vLLM users write "no limit"; None in a config means "not set".
    if values.get("top_k") == -1 and not isinstance(values["top_k"], (bool, float)):
        values["top_k"] = 0
    for key in ("stop", "stop_token_ids", "logit_bias"):
        if key in values and values[key] is None:
            del values[key]
    return SamplingParams(**values)
