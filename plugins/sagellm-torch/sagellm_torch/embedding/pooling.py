"""From the vectors of a text's tokens to one vector."""

from __future__ import annotations

import torch

from .pack import Pack

#: The poolings that are computed.
POOLINGS = ("mean", "last", "cls", "max")


def wanted_rows(pooling: str, pack: Pack) -> torch.Tensor | None:
    """Rows that a pooling looks at, one a text; ``None``: all of them."""
    if pooling == "cls":
        return pack.integers(pack.first_rows())
    if pooling == "last":
        return pack.integers(pack.last_rows())
    return None


def pool(pooling: str, hidden: torch.Tensor, pack: Pack) -> torch.Tensor:
    """One float32 vector a text, [texts, hidden].

    :param hidden: of the rows that :func:`wanted_rows` names.
    """
    hidden = hidden.float()
    if pooling in ("cls", "last"):
        return hidden
    pooled = []
    for group in pack.groups:
        tokens = hidden[group.rows].view(group.count, group.length, -1)
        pooled.append(tokens.mean(1) if pooling == "mean" else tokens.amax(1))
    return pooled[0] if len(pooled) == 1 else torch.cat(pooled)
