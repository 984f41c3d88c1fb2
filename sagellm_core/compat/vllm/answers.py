"""From what the engine generated to the text that vLLM's parameters ask for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sagellm_core.contract import (
    FinishReason,
    SageLLMError,
    Tokenizer,
    TokenLogprobs,
    UnsupportedOptionError,
)
from sagellm_core.contract import SamplingParams as CoreSampling
from sagellm_core.engine import Completion
from sagellm_core.engine.detokenizer import Detokenizer
from sagellm_core.engine.reasons import decode_error
from sagellm_core.engine.stops import StopMatcher

from .outputs import CompletionOutput, logprobs_of
from .sampling_params import SamplingParams


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    token_ids: tuple[int, ...]
    finish_reason: str | None
    stop_reason: str | int | None


def stops_here(params: SamplingParams) -> bool:
    """Whether stop strings are looked for here instead of in the engine.

    The engine looks in the text without special tokens, and these parameters ask for the text
    with them.
    """
    return bool(params.stop) and not params.skip_special_tokens


def read_completion(
    completion: Completion,
    params: SamplingParams,
    sampling: CoreSampling,
    tokenizer: Tokenizer,
    index: int,
) -> CompletionOutput:
    """One answer in vLLM's shape.

    :param sampling: what :meth:`SamplingParams.for_engine` gave.
    :raises UnsupportedOptionError: log-probabilities were asked for, and there are none.
    :raises SageLLMError: the tokenizer failed.
    """
    try:
        answer = _answer(completion, params, sampling, tokenizer)
        logprobs = cumulative = None
        if sampling.logprobs is not None:
            logprobs, cumulative = logprobs_of(*_entries(completion, answer, tokenizer))
    except (SageLLMError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise decode_error(error) from error
    return CompletionOutput(
        index=index,
        text=answer.text if params.detokenize else "",
        token_ids=list(answer.token_ids),
        cumulative_logprob=cumulative,
        logprobs=logprobs,
        finish_reason=answer.finish_reason,
        stop_reason=answer.stop_reason,
    )


def _answer(
    completion: Completion, params: SamplingParams, sampling: CoreSampling, tokenizer: Tokenizer
) -> _Answer:
    ids, reason = completion.token_ids, completion.stop_reason
    # vLLM gives no reason at the model's own end of sequence.
    by_token = isinstance(reason, int)
    asked_for = not by_token or reason in sampling.stop_token_ids
    finish = None if completion.finish_reason is None else str(completion.finish_reason)
    given = _Answer(completion.text, ids, finish, reason if asked_for else None)
    if not params.detokenize:
        return given
    whole = params.include_stop_str_in_output
    if not params.skip_special_tokens:
        stops = (params.stop,) if isinstance(params.stop, str) else tuple(params.stop or ())
        return _spelled_out(given, stops, tokenizer, by_token=by_token, whole=whole)
    if isinstance(reason, str):
        return _Answer(completion.text + (reason if whole else ""), ids, finish, reason)
    if by_token and asked_for and not whole and completion.text:
        # The engine leaves a stop token's text in where the token is an ordinary one.
        text = _decode(ids[:-1], tokenizer, skip_special_tokens=True, cut=False)
        return _Answer(text, ids, finish, reason)
    return given


def _spelled_out(
    given: _Answer, stops: tuple[str, ...], tokenizer: Tokenizer, *, by_token: bool, whole: bool
) -> _Answer:
    """The answer with the text of special tokens, and stop strings looked for in that."""
    shown = given.token_ids[:-1] if by_token and not whole else given.token_ids
    cut = given.finish_reason != FinishReason.STOP
    if not stops:
        text = _decode(shown, tokenizer, skip_special_tokens=False, cut=cut)
        return _Answer(text, given.token_ids, given.finish_reason, given.stop_reason)
    detokenizer = Detokenizer(partial(tokenizer.decode, skip_special_tokens=False))
    matcher = StopMatcher(stops)
    parts = []
    for count, token in enumerate(shown, 1):
        part, stop = matcher.push(detokenizer.push(token))
        if stop is None and count == len(shown):
            last, stop = matcher.push(detokenizer.flush(cut=cut))
            part += last
        parts.append(part)
        if stop is not None:
            text = "".join(parts) + (stop if whole else "")
            return _Answer(text, given.token_ids[:count], FinishReason.STOP.value, stop)
    parts.append(matcher.flush())
    return _Answer("".join(parts), given.token_ids, given.finish_reason, given.stop_reason)


def _decode(
    token_ids: tuple[int, ...], tokenizer: Tokenizer, *, skip_special_tokens: bool, cut: bool
) -> str:
    # Token by token, as the engine does it: half a character at the end of an answer that was
    # cut off is dropped.
    detokenizer = Detokenizer(partial(tokenizer.decode, skip_special_tokens=skip_special_tokens))
    text = "".join([detokenizer.push(token) for token in token_ids])
    return text + detokenizer.flush(cut=cut)


def _entries(
    completion: Completion, answer: _Answer, tokenizer: Tokenizer
) -> tuple[tuple[TokenLogprobs, ...], dict[int, str]]:
    if completion.logprobs is None:
        raise UnsupportedOptionError(
            "logprobs were asked for, and the provider gave none.",
            hint="Leave logprobs out, or choose a provider that offers them.",
        )
    entries = completion.logprobs[: len(answer.token_ids)]
    tokens = {entry.token_id for entry in entries}
    tokens.update(token for entry in entries for token, _ in entry.top)
    words = {token: tokenizer.decode([token], skip_special_tokens=False) for token in tokens}
    return entries, words
