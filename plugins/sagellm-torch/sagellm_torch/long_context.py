"""LongRoPE's switch: a sequence that outgrows the pretraining context is rotated anew.

Up to ``switch`` tokens a sequence uses the short factors, past it the long ones, for all of
its tokens (Ding et al. 2024, arXiv:2402.13753). Keys in the cache carry their rotation, and
deeper layers have attended through it, so the tokens have to be computed again.
"""

from __future__ import annotations

import torch


class TokenHistory:
    """The tokens of each slot up to the switch, on the device.

    :param switch: tokens that a sequence may have before it is computed again.
    """

    def __init__(self, max_slots: int, switch: int, device: torch.device) -> None:
        self.switch = switch
        # The last column takes tokens past the switch, which nobody reads: leaving them out would
        # have the host wait to learn how many there are.
        self._tokens = torch.zeros((max_slots, switch + 1), dtype=torch.int64, device=device)

    def crosses(self, long: bool, end: int) -> bool:
        """Whether a sequence of ``end`` tokens has to leave the short factors."""
        return not long and end > self.switch

    def extend(self, slot: int, start: int, tokens: torch.Tensor) -> None:
        """Remember tokens at positions ``start`` on; those past the switch are not needed."""
        end = min(start + tokens.numel(), self.switch)
        if end > start:
            self._tokens[slot, start:end] = tokens[: end - start]

    def append(self, slots: torch.Tensor, positions: torch.Tensor, tokens: torch.Tensor) -> None:
        """Remember one token a slot, each [B]; those past the switch are not needed."""
        self._tokens[slots, positions.clamp(max=self.switch)] = tokens

    def tokens(self, slot: int, count: int) -> torch.Tensor:
        """The first tokens of a slot, [count]."""
        return self._tokens[slot, :count]
