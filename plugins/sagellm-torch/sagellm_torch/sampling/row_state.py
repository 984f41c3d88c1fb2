"""What sampling remembers of one sequence."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sagellm_core.contract import InvalidSamplingError, SamplingParams


class RowState:
    """Sampling settings of one sequence, and the tokens that its penalties count.

    :param vocab_size: of the logits.
    :raises InvalidSamplingError: ``logit_bias`` names a token that the model does not have.
    """

    __slots__ = ("counts", "outputs", "params", "seed", "seen", "tokens")

    def __init__(self, params: SamplingParams, vocab_size: int) -> None:
        foreign = sorted(token for token in params.logit_bias if token >= vocab_size)
        if foreign:
            raise InvalidSamplingError(
                f"logit_bias names token {foreign[0]}; the model has {vocab_size} tokens.",
                hint=f"Token ids are between 0 and {vocab_size - 1}.",
            )
        self.params = params
        self.seed = params.seed or 0
        #: Tokens of prompt and output, and those of the output, that the device was not told of.
        self.tokens: list[int] = []
        self.outputs: list[int] = []
        #: On the device, [vocab]: how often the output has each token, as far as it was told.
        self.counts: torch.Tensor | None = None
        #: On the device, [vocab]: whether prompt or output have each token.
        self.seen: torch.Tensor | None = None

    @property
    def counts_output(self) -> bool:
        """Whether a penalty needs to know how often the output has each token."""
        return bool(self.params.presence_penalty or self.params.frequency_penalty)

    @property
    def repeats(self) -> bool:
        """Whether a penalty needs to know which tokens were there at all."""
        return self.params.repetition_penalty != 1.0

    @property
    def plain(self) -> bool:
        """Whether the next token is the largest logit and nothing else is asked for."""
        return (
            self.params.greedy
            and not self.counts_output
            and not self.repeats
            and not self.params.logit_bias
            and self.params.logprobs is None
        )

    def observe(self, token_ids: Sequence[int], start: int, prompt_len: int) -> None:
        """Count tokens at positions ``start`` on; those before ``prompt_len`` are prompt.

        The device is told of them when the sequence is sampled the next time.
        """
        if self.repeats:
            self.tokens.extend(token_ids)
        if self.counts_output:
            self.outputs.extend(token_ids[max(0, prompt_len - start) :])
