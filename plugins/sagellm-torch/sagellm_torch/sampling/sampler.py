"""The sampler, vectorised over the rows of a step.

Order of operations as :class:`~sagellm_core.contract.SamplingParams` says: logit bias,
repetition penalty, presence and frequency penalties, temperature, top-k, top-p, min-p, draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from .filters import Filters
from .logprobs import Asked, RowLogprobs
from .packing import Packing, Upload
from .penalties import Penalties
from .randomness import uniform
from .row_state import RowState

#: Temperatures beyond these are the limits themselves in float32: greedy, and uniform.
_COLDEST, _HOTTEST = 1e-30, 1e30
_ARGMAX = partial(torch.argmax, dim=-1)


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a step sampled, on the device."""

    #: [R] token ids.
    tokens: torch.Tensor
    logprobs: RowLogprobs | None = None

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """What the host has to read."""
        return (self.tokens, *(() if self.logprobs is None else self.logprobs.tensors))

    def moved(self, tensors: Sequence[torch.Tensor]) -> Sampled:
        """The same with :attr:`tensors` from elsewhere."""
        tokens, *rest = tensors
        return Sampled(tokens, None if self.logprobs is None else self.logprobs.moved(rest))


class SamplingBatch:
    """Rows that are sampled together, and what the device has to know about them.

    That is copied when a batch is sampled for the first time: one that goes on with the same rows
    costs a copy of its random numbers a step, or none. No value of the device is looked at, but
    for :paramref:`looks_first`.

    :param upload: copies numbers to the device.
    :param argmax: how the device does it, [R, vocab] -> [R].
    :param looks_first: see :class:`~.filters.Filters`.
    """

    def __init__(
        self,
        rows: Sequence[RowState],
        upload: Upload,
        argmax: Callable[[torch.Tensor], torch.Tensor] = _ARGMAX,
        *,
        looks_first: bool = True,
    ) -> None:
        self._rows = tuple(rows)
        self._upload = upload
        self._argmax = argmax
        self._looks_first = looks_first
        self._plain = all(row.plain for row in rows)
        self._details: _Details | None = None

    def holds(self, rows: Sequence[RowState]) -> bool:
        """Whether it is of these very rows."""
        mine = self._rows
        return len(mine) == len(rows) and all(a is b for a, b in zip(mine, rows, strict=True))

    def sample(self, logits: torch.Tensor, indices: Sequence[int]) -> Sampled:
        """Choose a token for each row, and count it for the row's penalties.

        :param logits: [R, vocab], float32; not changed.
        :param indices: for each row, how many output tokens it has already.
        """
        if self._plain:
            return Sampled(self._argmax(logits))
        details = self._details
        if details is None:
            details = _Details(self._rows, logits, self._upload, looks_first=self._looks_first)
            self._details = details
        adjusted = details.penalties.apply(logits)
        drawing = details.drawing
        if not drawing:
            tokens = self._argmax(adjusted)
        else:
            numbers = [uniform(self._rows[i].seed, indices[i]) for i in drawing]
            drawn = details.draw(adjusted, self._upload(numbers, torch.float32))
            if len(drawing) == len(self._rows):
                tokens = drawn
            else:
                tokens = self._argmax(adjusted).index_copy(0, details.where_drawing, drawn)
        details.penalties.observe(tokens)
        return Sampled(tokens, details.asked.of(logits, tokens))


class _Details:
    """A batch's settings, on the device."""

    def __init__(
        self,
        rows: Sequence[RowState],
        logits: torch.Tensor,
        upload: Upload,
        *,
        looks_first: bool,
    ) -> None:
        vocab = logits.shape[-1]
        self._ints, self._floats = Packing(torch.int64), Packing(torch.float32)
        ints, floats = self._ints, self._floats
        self.drawing = [i for i, row in enumerate(rows) if not row.params.greedy]
        params = [rows[i].params for i in self.drawing]
        self.penalties = Penalties(rows, vocab, ints, floats)
        self.asked = Asked(rows, vocab, ints)
        self._where = ints.add(self.drawing)
        self._picks = len(self.drawing) < len(rows)
        self._heat = floats.add([min(max(p.temperature, _COLDEST), _HOTTEST) for p in params])
        self._filters = Filters(params, vocab, ints, floats, looks_first=looks_first)
        ints.upload(upload)
        floats.upload(upload)
        self.penalties.prepare(logits)

    @property
    def where_drawing(self) -> torch.Tensor:
        """Rows that draw, [n]."""
        return self._ints[self._where]

    def draw(self, logits: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """One token a row that draws, by inverting its cumulative distribution, [n].

        :param numbers: [n], uniform in [0, 1).
        """
        if self._picks:
            logits = logits.index_select(0, self.where_drawing)
        # Shifted first: dividing by a small temperature then gives -inf at worst, never +inf.
        scaled = (logits - logits.amax(-1, keepdim=True)) / self._floats[self._heat].unsqueeze(1)
        threshold = self._filters.threshold(scaled)
        weights = scaled.exp()
        if threshold is not None:
            weights = weights.masked_fill(scaled < threshold, 0.0)
        cumulative = weights.cumsum(-1)
        total = cumulative[:, -1:]
        target = total * numbers.unsqueeze(1)
        # Rounding may carry the product up to the total, past the last token.
        target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
        # The first token whose cumulative weight exceeds the target has a weight of its own.
        return torch.searchsorted(cumulative, target, right=True).squeeze(1)


def sample(
    logits: torch.Tensor,
    rows: Sequence[RowState],
    indices: Sequence[int],
    argmax: Callable[[torch.Tensor], torch.Tensor] = _ARGMAX,
) -> Sampled:
    """:meth:`SamplingBatch.sample` of rows that are sampled together once."""

    def upload(values: Sequence[float], dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(values, dtype=dtype).to(logits.device, non_blocking=True)

    return SamplingBatch(rows, upload, argmax).sample(logits, indices)
