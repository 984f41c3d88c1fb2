"""What calls give back, in vLLM's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagellm_core.contract import TokenLogprobs


@dataclass(slots=True)
class Logprob:
    """The log-probability of one token at one position, natural logarithm."""

    logprob: float
    #: 1 for the most probable token; ``None`` for a sampled token that is not among the
    #: alternatives that were asked for, whose rank no provider reports.
    rank: int | None = None
    decoded_token: str | None = None


@dataclass(slots=True)
class CompletionOutput:
    """One answer to a prompt."""

    #: Its place among the ``n`` answers.
    index: int
    text: str
    #: Everything generated, an end-of-sequence token included.
    token_ids: list[int]
    #: Sum over the sampled tokens, where log-probabilities were asked for.
    cumulative_logprob: float | None = None
    #: For each token, token id to log-probability: the sampled one, then the best ones.
    logprobs: list[dict[int, Logprob]] | None = None
    #: ``stop`` or ``length``.
    finish_reason: str | None = None
    #: The stop string or stop token id; ``None`` at the model's own end of sequence.
    stop_reason: int | str | None = None
    #: Always ``None``: there are no LoRA adapters.
    lora_request: None = None

    def finished(self) -> bool:
        """Whether it is complete."""
        return self.finish_reason is not None


@dataclass(slots=True)
class RequestOutput:
    """A prompt with its answers."""

    #: Counts the prompts of one :class:`LLM` from ``"0"``.
    request_id: str
    #: ``None`` for a prompt of token ids; the rendered conversation after ``chat``.
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool = True
    #: Prompt tokens whose keys and values were found in the cache.
    num_cached_tokens: int | None = None
    #: Always ``None``: prompt log-probabilities are refused when asked for.
    prompt_logprobs: None = None
    #: Always ``None``, as vLLM has it where statistics are off.
    metrics: None = None
    lora_request: None = None
    encoder_prompt: None = None
    encoder_prompt_token_ids: None = None
    #: sagellm's own: name, dist, version and device of what answered, and why it was chosen.
    provider: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class EmbeddingOutput:
    """One vector."""

    embedding: list[float]

    @property
    def hidden_size(self) -> int:
        """Length of the vector."""
        return len(self.embedding)


@dataclass(slots=True)
class EmbeddingRequestOutput:
    """A prompt with its vector."""

    request_id: str
    outputs: EmbeddingOutput
    finished: bool = True
    #: sagellm's own: name, dist, version and device of what answered, and why it was chosen.
    provider: Mapping[str, Any] = field(default_factory=dict)


def logprobs_of(
    entries: tuple[TokenLogprobs, ...], words: Mapping[int, str]
) -> tuple[list[dict[int, Logprob]], float]:
    """vLLM's form of log-probabilities, and their sum over the sampled tokens.

    :param words: the text of every token id that occurs.
    """
    shown: list[dict[int, Logprob]] = []
    for entry in entries:
        ranks = {token: rank for rank, (token, _) in enumerate(entry.top, 1)}
        values = {entry.token_id: entry.logprob, **dict(entry.top)}
        shown.append(
            {
                token: Logprob(value, ranks.get(token), words.get(token))
                for token, value in values.items()
            }
        )
    return shown, sum(entry.logprob for entry in entries)
