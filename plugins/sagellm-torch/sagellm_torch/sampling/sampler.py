"""The sampler, vectorised over the rows of a step.

Order of operations as :class:`~sagellm_core.contract.SamplingParams` says: logit bias,
repetition penalty, presence and frequency penalties, temperature, top-k, top-p, min-p, draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from sagellm_core.contract import SamplingParams, TokenLogprobs

from .filters import keep_threshold
from .randomness import uniform
from .row_state import RowState

#: Temperatures beyond these are the limits themselves in float32: greedy, and uniform.
_COLDEST, _HOTTEST = 1e-30, 1e30
_ARGMAX = partial(torch.argmax, dim=-1)


@dataclass(slots=True)
class RowLogprobs:
    """Log-probabilities of the rows that asked for them, on the device."""

    rows: list[int]
    wanted: list[int]
    #: [n], of the sampled tokens.
    chosen: torch.Tensor
    #: [n, most wanted] best alternatives, or ``None``.
    top_ids: torch.Tensor | None
    top: torch.Tensor | None

    def to_host(self, token_ids: Sequence[int]) -> dict[int, TokenLogprobs]:
        """By row of the step."""
        chosen = self.chosen.tolist()
        ids = self.top_ids.tolist() if self.top_ids is not None else []
        values = self.top.tolist() if self.top is not None else []
        found = {}
        for i, (row, count) in enumerate(zip(self.rows, self.wanted, strict=True)):
            best = tuple(zip(ids[i][:count], values[i][:count], strict=True)) if count else ()
            found[row] = TokenLogprobs(token_ids[row], chosen[i], best)
        return found


@dataclass(slots=True)
class Sampled:
    """What a step sampled, on the device."""

    #: [R] token ids.
    tokens: torch.Tensor
    logprobs: RowLogprobs | None = None


def sample(
    logits: torch.Tensor,
    rows: Sequence[RowState],
    indices: Sequence[int],
    argmax: Callable[[torch.Tensor], torch.Tensor] = _ARGMAX,
) -> Sampled:
    """Choose a token for each row, and count it for the row's penalties.

    :param logits: [R, vocab], float32; not changed.
    :param indices: for each row, how many output tokens it has already.
    :param argmax: how the device does it, [R, vocab] -> [R].
    """
    if all(row.plain for row in rows):
        return Sampled(argmax(logits))
    adjusted = _adjust(logits, rows)
    tokens = argmax(adjusted)
    drawing = [i for i, row in enumerate(rows) if not row.params.greedy]
    if drawing:
        where = torch.tensor(drawing, device=logits.device)
        drawn = _draw(
            adjusted.index_select(0, where),
            [rows[i].params for i in drawing],
            [uniform(rows[i].seed, indices[i]) for i in drawing],
        )
        tokens = tokens.index_copy(0, where, drawn)
    for i, row in enumerate(rows):
        row.observe_output(tokens[i : i + 1])
    return Sampled(tokens, _logprobs(logits, tokens, rows))


def _adjust(logits: torch.Tensor, rows: Sequence[RowState]) -> torch.Tensor:
    """Logit bias and penalties."""
    if not any(row.penalised or row.bias is not None for row in rows):
        return logits
    logits = logits.clone()
    for i, row in enumerate(rows):
        if row.bias is not None:
            logits[i].index_add_(0, *row.bias)
    repeated = [i for i, row in enumerate(rows) if row.seen is not None]
    if repeated:
        where = torch.tensor(repeated, device=logits.device)
        part = logits.index_select(0, where)
        seen = torch.stack([_present(rows[i].seen) for i in repeated])
        penalty = part.new_tensor([rows[i].params.repetition_penalty for i in repeated])
        penalty = penalty.unsqueeze(1)
        punished = torch.where(part > 0, part / penalty, part * penalty)
        logits[where] = torch.where(seen, punished, part)
    counted = [i for i, row in enumerate(rows) if row.counts is not None]
    if counted:
        where = torch.tensor(counted, device=logits.device)
        counts = torch.stack([_present(rows[i].counts) for i in counted])
        presence = logits.new_tensor([rows[i].params.presence_penalty for i in counted])
        frequency = logits.new_tensor([rows[i].params.frequency_penalty for i in counted])
        penalty = presence.unsqueeze(1) * (counts > 0) + frequency.unsqueeze(1) * counts
        logits[where] = logits.index_select(0, where) - penalty
    return logits


def _present(state: torch.Tensor | None) -> torch.Tensor:
    assert state is not None, "only rows with this state are chosen"
    return state


def _draw(
    logits: torch.Tensor, params: Sequence[SamplingParams], numbers: Sequence[float]
) -> torch.Tensor:
    """One token a row by inverting its cumulative distribution at ``numbers``, [R]."""
    heat = logits.new_tensor([min(max(p.temperature, _COLDEST), _HOTTEST) for p in params])
    # Shifted first: dividing by a small temperature then gives -inf at worst, never +inf.
    scaled = (logits - logits.amax(-1, keepdim=True)) / heat.unsqueeze(1)
    threshold = keep_threshold(scaled, params)
    weights = scaled.exp()
    if threshold is not None:
        weights = weights.masked_fill(scaled < threshold, 0.0)
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1:]
    target = total * total.new_tensor(numbers).unsqueeze(1)
    # Rounding may carry the product up to the total, past the last token.
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    # The first token whose cumulative weight exceeds the target has a weight of its own.
    return torch.searchsorted(cumulative, target, right=True).squeeze(1)


def _logprobs(
    logits: torch.Tensor, tokens: torch.Tensor, rows: Sequence[RowState]
) -> RowLogprobs | None:
    """Under the model's own distribution: before bias, penalties, temperature and filters."""
    asking = [(i, row.params.logprobs) for i, row in enumerate(rows)]
    found = [(i, count) for i, count in asking if count is not None]
    if not found:
        return None
    chosen_rows = [i for i, _ in found]
    wanted = [min(count, logits.shape[-1]) for _, count in found]
    where = torch.tensor(chosen_rows, device=logits.device)
    logprobs = torch.log_softmax(logits.index_select(0, where), dim=-1)
    chosen = logprobs.gather(1, tokens.index_select(0, where).unsqueeze(1)).squeeze(1)
    if max(wanted) == 0:
        return RowLogprobs(chosen_rows, wanted, chosen, None, None)
    top, top_ids = logprobs.topk(max(wanted), dim=-1)
    return RowLogprobs(chosen_rows, wanted, chosen, top_ids, top)
