"""How tokens are chosen from logits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import InvalidSamplingError

#: Most alternatives that :attr:`SamplingParams.logprobs` may ask for.
MAX_LOGPROBS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Sampling settings of one request. Checked when constructed.

    The order of operations on the logits of a step is: ``logit_bias``, repetition penalty,
    presence and frequency penalties, temperature, ``top_k``, ``top_p``, ``min_p``, draw.
    Greedy requests (``temperature == 0``) take the largest logit after the penalties.

    :raises InvalidSamplingError: on construction, naming the parameter and its range.
    """

    #: Most new tokens, at least 1. ``None``: as many as the context holds.
    max_tokens: int | None = None
    #: 0 is greedy; otherwise logits are divided by it.
    temperature: float = 1.0
    #: Keep the ``top_k`` largest logits; 0 keeps all.
    top_k: int = 0
    #: Keep the smallest set of tokens whose probability reaches ``top_p``, in (0, 1].
    top_p: float = 1.0
    #: Drop tokens less probable than ``min_p`` times the most probable one, in [0, 1].
    min_p: float = 0.0
    #: > 0; over tokens of prompt and output, logits are divided by it where positive and
    #: multiplied where negative (Keskar et al. 2019, arXiv:1909.05858). 1 is off.
    repetition_penalty: float = 1.0
    #: In [-2, 2]; subtracted once from tokens that the output has (OpenAI API reference).
    presence_penalty: float = 0.0
    #: In [-2, 2]; subtracted once per occurrence in the output (OpenAI API reference).
    frequency_penalty: float = 0.0
    #: Token id to a value in [-100, 100] that is added to its logit.
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    #: In [0, 2**63). The same seed, prompt, model, provider and device give the same tokens,
    #: whatever else is in the batch. ``None``: the engine draws one.
    seed: int | None = None
    #: Generation ends before any of these strings; they are not part of the text.
    stop: tuple[str, ...] = ()
    #: Generation ends after any of these ids.
    stop_token_ids: tuple[int, ...] = ()
    #: Go on past the model's end-of-sequence tokens.
    ignore_eos: bool = False
    #: With each token, its log-probability and that of this many best alternatives, under
    #: the model's own distribution (before temperature and filters). ``None``: none.
    logprobs: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            _check_int("max_tokens", self.max_tokens, 1, None)
        _check_float("temperature", self.temperature, 0.0, math.inf)
        _check_int("top_k", self.top_k, 0, None)
        _check_float("top_p", self.top_p, 0.0, 1.0, low_open=True)
        _check_float("min_p", self.min_p, 0.0, 1.0)
        _check_float("repetition_penalty", self.repetition_penalty, 0.0, math.inf, low_open=True)
        _check_float("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _check_float("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        if self.seed is not None:
            _check_int("seed", self.seed, 0, 2**63 - 1)
        if self.logprobs is not None:
            _check_int("logprobs", self.logprobs, 0, MAX_LOGPROBS)
        if not isinstance(self.ignore_eos, bool):
            raise _wrong("ignore_eos", self.ignore_eos, "True or False")
        # Lists are accepted for convenience and kept as tuples, so that a request is immutable.
        object.__setattr__(self, "stop", _strings("stop", self.stop))
        object.__setattr__(self, "stop_token_ids", _ids("stop_token_ids", self.stop_token_ids))
        object.__setattr__(self, "logit_bias", _bias(self.logit_bias))

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0.0


def _wrong(name: str, value: object, wanted: str) -> InvalidSamplingError:
    shown = repr(value)
    if len(shown) > 60:
        shown = shown[:57] + "..."
    return InvalidSamplingError(
        f"{name}={shown} ({type(value).__name__}) is not valid.", hint=f"{name} must be {wanted}."
    )


def _check_int(name: str, value: Any, low: int, high: int | None) -> None:
    # bool is a subclass of int, and True as a count is always a mistake.
    wanted = f"an integer of at least {low}" + (f" and at most {high}" if high is not None else "")
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, value, wanted)
    if value < low or (high is not None and value > high):
        raise _wrong(name, value, wanted)


def _check_float(name: str, value: Any, low: float, high: float, *, low_open: bool = False) -> None:
    bounds = f"{'above' if low_open else 'at least'} {low:g}"
    if math.isfinite(high):
        bounds += f" and at most {high:g}"
    wanted = f"a finite number {bounds}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(name, value, wanted)
    try:
        as_float = float(value)
    except OverflowError:
        raise _wrong(name, value, wanted) from None
    if not math.isfinite(as_float):
        raise _wrong(name, value, wanted)
    if as_float < low or (low_open and as_float == low) or as_float > high:
        raise _wrong(name, value, wanted)


def _strings(name: str, value: Any) -> tuple[str, ...]:
    wanted = "a string or a list of non-empty strings"
    if isinstance(value, str) and value:
        return (value,)
    if not isinstance(value, (list, tuple)):
        raise _wrong(name, value, wanted)
    for item in value:
        if not isinstance(item, str) or not item:
            raise _wrong(name, value, wanted)
    return tuple(value)


def _ids(name: str, value: Any) -> tuple[int, ...]:
    wanted = "a list of token ids (integers of at least 0)"
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise _wrong(name, value, wanted)
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int) or item < 0:
            raise _wrong(name, value, wanted)
    return tuple(sorted(value)) if isinstance(value, (set, frozenset)) else tuple(value)


def _bias(value: Any) -> dict[int, float]:
    wanted = "a mapping of token id to a number between -100 and 100"
    if not isinstance(value, Mapping):
        raise _wrong("logit_bias", value, wanted)
    bias: dict[int, float] = {}
    for key, amount in value.items():
        # JSON objects have string keys; "42" can only mean token 42.
        if isinstance(key, str) and key.isascii() and key.isdigit():
            key = int(key)
        if isinstance(key, bool) or not isinstance(key, int) or key < 0:
            raise _wrong("logit_bias", value, wanted)
        if isinstance(amount, bool) or not isinstance(amount, (int, float)):
            raise _wrong("logit_bias", value, wanted)
        if not -100 <= amount <= 100:  # also refuses NaN
            raise _wrong("logit_bias", value, wanted)
        bias[key] = float(amount)
    return bias
