"""vLLM's sampling parameters, and what they are for core's engine."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from sagellm_core.contract import MAX_LOGPROBS, InvalidSamplingError, UnsupportedOptionError
from sagellm_core.contract import SamplingParams as CoreSampling

_log = logging.getLogger("sagellm")

#: Below this a temperature is greedy, and up to the second it is raised to it, as in vLLM.
_GREEDY_BELOW = 1e-5
_LOWEST_TEMPERATURE = 1e-2

#: Parameters that are refused unless left at their default, with what to do instead.
_REFUSED = {
    "prompt_logprobs": "Ask for logprobs of the output instead.",
    "prompt_logprob_token_ids": "Ask for logprobs of the output instead.",
    "prompt_logprob_start": "Ask for logprobs of the output instead.",
    "logprob_token_ids": f"Use logprobs=N with N up to {MAX_LOGPROBS}.",
    "flat_logprobs": "Leave it out; logprobs come as a list of dicts.",
    "structured_outputs": "Leave it out and check the answer's form afterwards.",
    "guided_decoding": "Leave it out and check the answer's form afterwards.",
    "logits_processors": "Use logit_bias or the penalties.",
    "allowed_token_ids": "Use logit_bias to prefer tokens.",
    "bad_words": "Use logit_bias with -100 for single tokens.",
    "use_beam_search": "Use n samples instead.",
    "length_penalty": "It belongs to beam search, which is not offered.",
    "early_stopping": "It belongs to beam search, which is not offered.",
    "thinking_token_budget": "Use max_tokens.",
    "repetition_detection": "Use repetition_penalty.",
    "trace_decode_token_ids": "Leave it out.",
    "routed_experts_prompt_start": "Leave it out.",
}

#: Parameters that change no answer of an offline call.
_WITHOUT_EFFECT = (
    "spaces_between_special_tokens",
    "stream_interval",
    "skip_clone",
    "output_text_buffer_length",
    "skip_reading_prefix_cache",
    "extra_args",
)


class RequestOutputKind(Enum):
    """How a streaming engine cuts its outputs; offline calls give the whole output."""

    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


@dataclass(slots=True, kw_only=True)
class SamplingParams:
    """Sampling parameters with vLLM's names and defaults; ``max_tokens`` is 16.

    :raises InvalidSamplingError: a value out of its range (a ``ValueError``).
    :raises UnsupportedOptionError: a parameter that is not offered (a ``ValueError`` too).
    """

    #: Answers per prompt.
    n: int = 1
    #: Accepted where it equals ``n``: generating more and dropping some is not offered.
    best_of: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    #: 0 is greedy.
    temperature: float = 1.0
    top_p: float = 1.0
    #: 0 and -1 keep all tokens.
    top_k: int = 0
    min_p: float = 0.0
    #: ``None`` and -1: derived from the seed of the :class:`LLM`.
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    #: ``None``: to the end of the context. More than the context holds is cut to it.
    max_tokens: int | None = 16
    #: Above 0 only with ``ignore_eos`` and without stops, where nothing ends an answer early.
    min_tokens: int = 0
    #: So many alternatives with each token, at most 20.
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    prompt_logprob_token_ids: list[int] | None = None
    prompt_logprob_start: int | None = None
    logprob_token_ids: list[int] | None = None
    flat_logprobs: bool = False
    #: False leaves ``text`` empty.
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    #: Keep so many tokens of the prompt's end.
    truncate_prompt_tokens: int | None = None
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE
    stream_interval: int | None = None
    skip_clone: bool = False
    output_text_buffer_length: int = 0
    structured_outputs: Any = None
    guided_decoding: Any = None
    logits_processors: Any = None
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: list[str] | None = None
    extra_args: dict[str, Any] | None = None
    skip_reading_prefix_cache: bool | None = None
    thinking_token_budget: int | None = None
    repetition_detection: Any = None
    routed_experts_prompt_start: int = 0
    trace_decode_token_ids: list[int] | None = None
    use_beam_search: bool = False
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    _noted: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.check()

    @classmethod
    def from_optional(cls, **values: Any) -> SamplingParams:
        """From keyword arguments of which those that are ``None`` count as left out.

        ``max_tokens=None`` is kept: it means no limit. Biases are cut to [-100, 100].
        """
        kept = {
            key: value for key, value in values.items() if value is not None or key == "max_tokens"
        }
        if isinstance(kept.get("logit_bias"), dict):
            kept["logit_bias"] = {
                token: max(-100.0, min(100.0, bias)) for token, bias in kept["logit_bias"].items()
            }
        return cls(**kept)

    def clone(self) -> SamplingParams:
        """A copy of its own."""
        return copy.deepcopy(self)

    def check(self) -> None:
        """Check every parameter; also done by each call, since fields may be assigned to.

        :raises InvalidSamplingError: a value out of its range.
        :raises UnsupportedOptionError: a parameter that is not offered.
        """
        for name, hint in _REFUSED.items():
            value = getattr(self, name)
            # An empty list or 0 where None is the default asks for nothing either.
            if value != _DEFAULTS[name] and value not in ([], ()):
                raise UnsupportedOptionError(
                    f"SamplingParams({name}=...) is not offered.", hint=hint
                )
        _check_count("n", self.n, 1)
        _check_count("min_tokens", self.min_tokens, 0)
        if self.truncate_prompt_tokens is not None:
            _check_count("truncate_prompt_tokens", self.truncate_prompt_tokens, 1)
        if self.best_of is not None:
            _check_count("best_of", self.best_of, self.n)
            if self.best_of > self.n:
                raise UnsupportedOptionError(
                    f"best_of={self.best_of} is more than n={self.n}, and picking the best of "
                    "several answers is not offered.",
                    hint="Leave best_of out, or ask for n answers and pick one.",
                )
        if self.logprobs == -1 and not isinstance(self.logprobs, bool):
            raise UnsupportedOptionError(
                "logprobs=-1, the whole vocabulary, is not offered.",
                hint=f"Ask for at most {MAX_LOGPROBS}.",
            )
        core = self.for_engine(seed=None, max_tokens=self.max_tokens)
        _check_seed(self.seed)
        if core.greedy and self.n > 1:
            raise InvalidSamplingError(
                f"n={self.n} with temperature=0 would give the same answer {self.n} times.",
                hint="Use n=1, or a temperature above 0.",
            )
        if core.stop and not self.detokenize:
            raise InvalidSamplingError(
                "Stop strings need the text, and detokenize is False.",
                hint="Use stop_token_ids, or leave detokenize at True.",
            )
        self._check_min_tokens(core)
        self._note_what_has_no_effect()

    def _check_min_tokens(self, core: CoreSampling) -> None:
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise InvalidSamplingError(
                f"min_tokens={self.min_tokens} is more than max_tokens={self.max_tokens}.",
                hint="Lower min_tokens, or raise max_tokens.",
            )
        can_end_early = not self.ignore_eos or core.stop or core.stop_token_ids
        if self.min_tokens and can_end_early:
            raise UnsupportedOptionError(
                f"min_tokens={self.min_tokens} is not offered where an answer can end by itself.",
                hint="Set ignore_eos=True and no stops, or leave min_tokens out.",
            )

    def _note_what_has_no_effect(self) -> None:
        named = [name for name in _WITHOUT_EFFECT if getattr(self, name) != _DEFAULTS[name]]
        if named and not self._noted:
            _log.warning("SamplingParams: %s: no effect on answers here", ", ".join(named))
            self._noted = True

    def for_engine(
        self, *, seed: int | None, max_tokens: int | None, stop: bool = True
    ) -> CoreSampling:
        """The engine's parameters of one answer.

        :param max_tokens: the limit within the model's context; ``None``: the context itself.
        :param stop: whether the engine is to look for the stop strings.
        :raises InvalidSamplingError: a value out of its range.
        """
        temperature = self.temperature
        if isinstance(temperature, (int, float)) and 0 < temperature < _LOWEST_TEMPERATURE:
            temperature = 0.0 if temperature < _GREEDY_BELOW else _LOWEST_TEMPERATURE
        strings: Any = () if self.stop is None else self.stop
        stop_ids: Any = () if self.stop_token_ids is None else self.stop_token_ids
        bias: Any = {} if self.logit_bias is None else self.logit_bias
        return CoreSampling(
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=0 if self.top_k == -1 and not isinstance(self.top_k, bool) else self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=bias,
            seed=seed,
            stop=strings if stop else (),
            stop_token_ids=stop_ids,
            ignore_eos=self.ignore_eos,
            logprobs=1 if self.logprobs is True else self.logprobs,
        )


_DEFAULTS = {entry.name: entry.default for entry in fields(SamplingParams)}


def _check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidSamplingError(
            f"{name}={value!r} is not valid.",
            hint=f"{name} must be an integer of at least {least}.",
        )


def _check_seed(value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidSamplingError(
            f"seed={value!r} is not valid.", hint="seed must be an integer or None."
        )
