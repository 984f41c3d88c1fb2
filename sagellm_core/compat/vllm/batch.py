"""One call: prompts with their parameters in, answers in vLLM's shape out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sagellm_core.contract import EmptyPromptError, PromptTooLongError
from sagellm_core.contract import SamplingParams as CoreSampling
from sagellm_core.session import Session

from .answers import read_completion, stops_here
from .inputs import EncodedPrompt
from .outputs import RequestOutput
from .sampling_params import SamplingParams


def answer_prompts(
    session: Session,
    prompts: Sequence[EncodedPrompt],
    params: Sequence[SamplingParams],
    *,
    first: int,
    seed: int | None,
) -> list[RequestOutput]:
    """Answer all prompts at once.

    Each of a prompt's ``n`` answers is a request with settings of its own, because their seeds
    are vLLM's and not those of :meth:`EngineClient.generate`. They begin alike, so the engine
    computes the prompt's full blocks once for all of them.

    :param params: one for each prompt, checked.
    :param first: number of the first prompt among all of this :class:`LLM`.
    :param seed: what requests without a seed derive theirs from.
    :raises InvalidRequestError: a prompt is empty or too long; nothing was computed.
    :raises SageLLMError: whatever ended one of them; the others are cancelled.
    """
    context = session.engine.max_model_len
    for index, prompt in enumerate(prompts):
        _check_length(index, len(prompt.token_ids), context)
    rows = [
        [
            _for_engine(one, context, _seed(one, seed, first + number, index))
            for index in range(one.n)
        ]
        for number, one in enumerate(params)
    ]
    sampling = [setting for row in rows for setting in row]
    if not sampling:
        return []
    token_ids = [prompt.token_ids for prompt, row in zip(prompts, rows, strict=True) for _ in row]
    completions = iter(session.client.generate(token_ids, sampling))
    provider = dict(session.provider)
    results = []
    for number, (prompt, one, row) in enumerate(zip(prompts, params, rows, strict=True)):
        answered = [next(completions) for _ in row]
        usage = answered[0].usage
        results.append(
            RequestOutput(
                request_id=str(first + number),
                prompt=prompt.text,
                prompt_token_ids=list(prompt.token_ids),
                outputs=[
                    read_completion(completion, one, setting, session.engine.tokenizer, index)
                    for index, (completion, setting) in enumerate(zip(answered, row, strict=True))
                ],
                num_cached_tokens=None if usage is None else usage.cached_tokens,
                provider=provider,
            )
        )
    return results


def _check_length(index: int, length: int, context: int) -> None:
    # The engine refuses them too, but cannot say which prompt of the call it is.
    if not length:
        raise EmptyPromptError(
            f"Prompt {index} has no tokens.", hint="Give each prompt at least one character."
        )
    if length >= context:
        raise PromptTooLongError(
            f"Prompt {index} has {length} tokens, and prompt and answer together have room for "
            f"{context}.",
            hint="Shorten it, pass truncate_prompt_tokens, or raise max_model_len.",
        )


def _for_engine(params: SamplingParams, context: int, seed: int | None) -> CoreSampling:
    limit = params.max_tokens
    return params.for_engine(
        seed=seed,
        # vLLM cuts a limit to the context; the engine would refuse it.
        max_tokens=None if limit is None or limit > context else limit,
        stop=not stops_here(params),
    )


def _seed(params: SamplingParams, base: int | None, number: int, index: int) -> int | None:
    if params.seed is not None and params.seed != -1:
        # As vLLM does it: the answers of one prompt have consecutive seeds.
        return (params.seed + index) % 2**63
    if base is None:
        return None
    material = f"{base}/{number}/{index}".encode()
    return int.from_bytes(hashlib.blake2b(material, digest_size=8).digest()) >> 1
