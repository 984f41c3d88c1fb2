"""From logits to perplexity, divergence and agreement.

Perplexity is exp of the mean negative log-likelihood of the tokens that came (Jelinek, Mercer,
Bahl, Baker: "Perplexity, a measure of the difficulty of speech recognition tasks", 1977). The
divergence is that of Kullback and Leibler ("On information and sufficiency", 1951), in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

#: Rows whose probabilities are in memory at once.
_ROWS = 64


@dataclass(frozen=True, slots=True)
class WindowScore:
    """Sums over the tokens of one window that count."""

    tokens: int
    #: Negative log-likelihood, in nats.
    nll: float
    #: Divergence of the reference from it; 0 for the reference itself.
    divergence: float
    #: Tokens whose most probable prediction is the reference's.
    agreed: int


@dataclass(frozen=True, slots=True)
class Loss:
    """How much worse than a reference on the same windows."""

    #: Perplexity over the reference's, less 1.
    change: float
    #: Standard error of :attr:`change`; windows are the samples, as tokens of one depend on
    #: each other. ``None`` of a single window.
    error: float | None
    #: Mean divergence of the reference's predictions from these, in nats a token.
    divergence: float
    #: Part of the tokens with the same most probable prediction.
    agreement: float


def score_window(
    logits: torch.Tensor, targets: Sequence[int], reference: torch.Tensor | None
) -> WindowScore:
    """Compare predictions with what came, and with those of a reference.

    :param logits: [rows, vocab], float32.
    :param targets: the token that came after each row.
    :param reference: logits of the reference, [rows, vocab], or ``None``: this is it.
    :raises ValueError: the two have different shapes, or a prediction is not finite.
    """
    if reference is not None and reference.shape != logits.shape:
        raise ValueError(
            f"logits are {list(logits.shape)}, those of the reference {list(reference.shape)}"
        )
    nll = divergence = 0.0
    agreed = 0
    came = torch.tensor(list(targets)).unsqueeze(1)
    for first in range(0, len(logits), _ROWS):
        part = slice(first, first + _ROWS)
        mine = torch.log_softmax(logits[part], dim=-1)
        nll -= float(mine.gather(1, came[part]).double().sum())
        if reference is None:
            agreed += len(mine)
            continue
        theirs = torch.log_softmax(reference[part], dim=-1)
        divergence += float((theirs.exp() * (theirs - mine)).sum(dim=-1, dtype=torch.float64).sum())
        agreed += int((mine.argmax(-1) == theirs.argmax(-1)).sum())
    if not math.isfinite(nll + divergence):
        raise ValueError("predictions are not finite")
    return WindowScore(len(logits), nll, divergence, agreed)


def perplexity(scores: Sequence[WindowScore]) -> float:
    """Perplexity over all windows."""
    return math.exp(sum(s.nll for s in scores) / sum(s.tokens for s in scores))


def loss(scores: Sequence[WindowScore], reference: Sequence[WindowScore]) -> Loss:
    """Compare with a reference, window by window.

    All windows have equally many tokens. The error of the change is that of the mean
    difference, times the derivative of exp there.
    """
    tokens = sum(score.tokens for score in scores)
    pairs = zip(scores, reference, strict=True)
    differences = [(mine.nll - theirs.nll) / mine.tokens for mine, theirs in pairs]
    count = len(differences)
    mean = math.fsum(differences) / count
    error = None
    if count > 1:
        squares = math.fsum((difference - mean) ** 2 for difference in differences)
        error = math.exp(mean) * math.sqrt(squares / (count - 1) / count)
    return Loss(
        math.expm1(mean),
        error,
        math.fsum(score.divergence for score in scores) / tokens,
        sum(score.agreed for score in scores) / tokens,
    )
