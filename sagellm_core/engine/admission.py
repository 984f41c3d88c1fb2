"""Whether a request can ever run."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from operator import index

from sagellm_core.contract import (
    EmptyPromptError,
    EventSink,
    GenerationRequest,
    InvalidRequestError,
    InvalidSamplingError,
    PromptTooLongError,
    SamplingParams,
    Tokenizer,
    TokenizerError,
)

from .detokenizer import Detokenizer
from .reasons import decode_error
from .request import RequestState

_seeds = random.SystemRandom()


class Admission:
    """Checks requests against the model and the cache, and prepares their state.

    :param context: longest sequence that model and configuration allow, in tokens.
    :param cache_tokens: tokens that the whole KV cache holds.
    :param vocab_size: ids are below it; ``None``: not known.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        eos_ids: frozenset[int],
        context: int,
        cache_tokens: int,
        vocab_size: int | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._eos_ids = eos_ids
        self._context = context
        self._cache_tokens = cache_tokens
        self._vocab_size = vocab_size
        #: Longest sequence, prompt and output, in tokens.
        self.max_model_len = min(context, cache_tokens)
        self._has_text = _decodes(tokenizer)

    def check(self, request: GenerationRequest, sink: EventSink, number: int) -> RequestState:
        """The state of a request that can run.

        :param number: its place in the order of arrival.
        :raises EmptyPromptError: no tokens.
        :raises PromptTooLongError: no room for one new token.
        :raises InvalidSamplingError: ``max_tokens`` beyond the context, or ``logit_bias`` for a
            token that does not exist.
        :raises InvalidRequestError: an id outside the vocabulary, a stop string without a
            tokenizer, a request id or priority of the wrong type.
        """
        arrived = time.monotonic()
        if not isinstance(request.request_id, str) or not request.request_id:
            raise InvalidRequestError(
                f"request_id={request.request_id!r} is not valid.",
                hint="It must be a string that is not empty.",
            )
        if isinstance(request.priority, bool) or not isinstance(request.priority, int):
            raise InvalidRequestError(
                f"priority={request.priority!r} is not valid.",
                hint="It must be an integer; smaller runs earlier.",
            )
        self._check_prompt(request.prompt_token_ids)
        sampling = request.sampling
        self._check_sampling(sampling)
        if sampling.seed is None:
            sampling = replace(sampling, seed=_seeds.getrandbits(63))
        room = self.max_model_len - len(request.prompt_token_ids)
        eos_ids = frozenset() if sampling.ignore_eos else self._eos_ids
        return RequestState(
            request,
            sink,
            sampling=sampling,
            eos_ids=eos_ids,
            max_new=room if sampling.max_tokens is None else min(room, sampling.max_tokens),
            detokenizer=Detokenizer(self._tokenizer.decode) if self._has_text else None,
            arrived=arrived,
            number=number,
        )

    def _check_prompt(self, token_ids: tuple[int, ...]) -> None:
        if not token_ids:
            raise EmptyPromptError(
                "The prompt has no tokens.", hint="Give a prompt with at least one."
            )
        length = len(token_ids)
        if length >= self.max_model_len:
            raise PromptTooLongError(
                f"The prompt has {length} tokens, the context is {self._context} tokens, and the "
                f"KV cache holds {self._cache_tokens}: there is no room for an answer.",
                hint=f"Shorten the prompt to at most {self.max_model_len - 1} tokens"
                + (
                    ", or give the KV cache more memory."
                    if self._cache_tokens < self._context
                    else ", or choose a model with a longer context."
                ),
            )
        try:
            lowest, highest = min(map(index, token_ids)), max(map(index, token_ids))
        except TypeError:
            raise InvalidRequestError(
                "The prompt's token ids are not all integers.",
                hint="Encode text with the model's tokenizer first.",
            ) from None
        if lowest < 0:
            raise self._foreign(lowest)
        if self._vocab_size is not None and highest >= self._vocab_size:
            raise self._foreign(highest)

    def _foreign(self, token: int) -> InvalidRequestError:
        size = f" 0 to {self._vocab_size - 1}" if self._vocab_size is not None else " 0 upwards"
        return InvalidRequestError(
            f"The prompt has token id {token}, and the model's vocabulary is{size}.",
            hint="Encode the prompt with this model's own tokenizer.",
        )

    def _check_sampling(self, sampling: SamplingParams) -> None:
        if sampling.max_tokens is not None and sampling.max_tokens > self.max_model_len:
            most = self.max_model_len
            of_cache = self._cache_tokens < self._context
            raise InvalidSamplingError(
                f"max_tokens={sampling.max_tokens} is more than the "
                + (f"{most} tokens of the KV cache." if of_cache else f"context of {most} tokens."),
                hint=f"Ask for at most {most - 1}, or leave max_tokens out"
                + (", or give the KV cache more memory." if of_cache else "."),
            )
        if sampling.stop and not self._has_text:
            raise InvalidRequestError(
                "Stop strings need a tokenizer, and this model has none.",
                hint="Use stop_token_ids instead.",
            )
        if self._vocab_size is not None and sampling.logit_bias:
            highest = max(sampling.logit_bias)
            if highest >= self._vocab_size:
                raise InvalidSamplingError(
                    f"logit_bias names token id {highest}, and the model's vocabulary is 0 to "
                    f"{self._vocab_size - 1}.",
                    hint="Use ids of this model's own tokenizer.",
                )


def _decodes(tokenizer: Tokenizer) -> bool:
    # Ask rather than try on the way: stop strings must be refused before anything runs.
    try:
        tokenizer.decode([0])
    except TokenizerError:
        return False
    except (Exception, SystemExit) as error:
        raise decode_error(error) from error
    return True
