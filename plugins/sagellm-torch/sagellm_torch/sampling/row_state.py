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

    __slots__ = ("_device", "_vocab_size", "bias", "counts", "params", "seed", "seen")

    def __init__(self, params: SamplingParams, vocab_size: int, device: torch.device) -> None:
        foreign = sorted(token for token in params.logit_bias if token >= vocab_size)
        if foreign:
            raise InvalidSamplingError(
                f"logit_bias names token {foreign[0]}; the model has {vocab_size} tokens.",
                hint=f"Token ids are between 0 and {vocab_size - 1}.",
            )
        self.params = params
        self.seed = params.seed or 0
        self._device = device
        self._vocab_size = vocab_size
        #: [vocab] how often the output has each token; kept only where a penalty needs it.
        self.counts: torch.Tensor | None = None
        #: [vocab] whether prompt or output have each token.
        self.seen: torch.Tensor | None = None
        #: Token ids and what is added to their logits.
        self.bias: tuple[torch.Tensor, torch.Tensor] | None = None
        if params.presence_penalty or params.frequency_penalty:
            self.counts = torch.zeros(vocab_size, dtype=torch.float32, device=device)
        if params.repetition_penalty != 1.0:
            self.seen = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        if params.logit_bias:
            self.bias = (
                torch.tensor(list(params.logit_bias), dtype=torch.int64, device=device),
                torch.tensor(list(params.logit_bias.values()), device=device),
            )

    @property
    def penalised(self) -> bool:
        """Whether tokens have to be counted."""
        return self.counts is not None or self.seen is not None

    @property
    def plain(self) -> bool:
        """Whether the next token is the largest logit and nothing else is asked for."""
        return (
            self.params.greedy
            and not self.penalised
            and self.bias is None
            and self.params.logprobs is None
        )

    def observe(self, token_ids: Sequence[int], start: int, prompt_len: int) -> None:
        """Count tokens at positions ``start`` on; those before ``prompt_len`` are prompt."""
        if not self.penalised or not token_ids:
            return
        tokens = torch.tensor(token_ids, dtype=torch.int64, device=self._device)
        self._count(tokens, tokens[max(0, prompt_len - start) :])

    def observe_output(self, token: torch.Tensor) -> None:
        """Count a sampled token, [1]."""
        if self.penalised:
            self._count(token, token)

    def _count(self, tokens: torch.Tensor, output: torch.Tensor) -> None:
        if self.seen is not None:
            self.seen.index_fill_(0, tokens, True)
        if self.counts is not None:
            self.counts.index_add_(0, output, torch.ones_like(output, dtype=torch.float32))
