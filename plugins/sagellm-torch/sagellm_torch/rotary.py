"""Rotary position embeddings.

Heads are kept with the two halves of each rotated pair side by side (``x[2j], x[2j + 1]``)
instead of half a head apart, as checkpoints have them: then a rotation is one complex
product. Queries and keys are reordered alike when they are loaded, so scores are unchanged.
"""

from __future__ import annotations

import math

import torch

from .architecture import RopeConfig, RopeKind


def interleave_pairs(weight: torch.Tensor, head_dim: int, rotary_dim: int) -> torch.Tensor:
    """Reorder the output rows of a query or key projection (or its bias, or a head's norm).

    :param weight: [heads * head_dim, ...] with pairs ``rotary_dim / 2`` apart in each head.
    :returns: the same shape, with pairs adjacent; dimensions past ``rotary_dim`` stay.
    """
    half = rotary_dim // 2
    order = torch.arange(head_dim)
    order[0:rotary_dim:2] = torch.arange(half)
    order[1:rotary_dim:2] = torch.arange(half, rotary_dim)
    heads = weight.shape[0] // head_dim
    rows = (torch.arange(heads)[:, None] * head_dim + order).reshape(-1)
    return weight.index_select(0, rows.to(weight.device))


class RotaryTable:
    """The rotations of one rotary embedding for positions 0 to ``length - 1``.

    :param length: positions, at least 1.
    """

    def __init__(self, config: RopeConfig, length: int, device: torch.device) -> None:
        self._config = config
        self._length = length
        regimes = [_frequencies(config, long=False)]
        if config.kind is RopeKind.LONGROPE:
            regimes.append(_frequencies(config, long=True))
        positions = torch.arange(length, dtype=torch.float32)
        angles = torch.cat([torch.outer(positions, inverse) for inverse in regimes])
        rotation = torch.stack((angles.cos(), angles.sin()), dim=-1)
        if config.attention_factor != 1.0:
            rotation *= config.attention_factor
        #: [regimes * length, rotary_dim / 2, 2]: cosine and sine.
        self._rotation = rotation.to(device)

    @property
    def switch_length(self) -> int | None:
        """Past so many tokens LongRoPE rotates by its long factors; ``None``: no such switch."""
        return self._config.original_length if self._config.kind is RopeKind.LONGROPE else None

    def first_row(self, *, long: bool) -> int:
        """The row that rotates position 0; the others follow.

        :param long: the sequence is past :attr:`switch_length`.
        """
        return self._length if long and self.switch_length is not None else 0

    def rotations(self, rows: torch.Tensor) -> torch.Tensor:
        """Rotations of some rows, [T] -> [T, 1, rotary_dim / 2, 2]."""
        return self._rotation.index_select(0, rows).unsqueeze(1)


def rotate(heads: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Rotate heads by their positions.

    :param heads: [T, heads, head_dim], pairs adjacent.
    :param rotations: [T, 1, rotary_dim / 2, 2], float32.
    :returns: [T, heads, head_dim], a new tensor.
    """
    count, number, head_dim = heads.shape
    rotary_dim = 2 * rotations.shape[2]
    turned = heads[..., :rotary_dim] if rotary_dim < head_dim else heads
    pairs = torch.view_as_complex(turned.float().view(count, number, rotary_dim // 2, 2))
    product = torch.view_as_real(pairs * torch.view_as_complex(rotations))
    result = product.view(count, number, rotary_dim).to(heads.dtype)
    if rotary_dim < head_dim:
        result = torch.cat((result, heads[..., rotary_dim:]), dim=-1)
    return result


def _frequencies(config: RopeConfig, *, long: bool) -> torch.Tensor:
    """Angle per position of each pair, [rotary_dim / 2], float32.

    Computed in float32 because models were trained that way: at position 100,000 the
    rounding of the frequencies is visible in the angles.
    """
    exponents = torch.arange(0, config.rotary_dim, 2, dtype=torch.float32) / config.rotary_dim
    wavelengths = config.theta**exponents
    plain = 1.0 / wavelengths
    if config.kind is RopeKind.LINEAR:
        return plain / config.factor
    if config.kind is RopeKind.LLAMA3:
        return _llama3(plain, config)
    if config.kind is RopeKind.YARN:
        return _yarn(wavelengths, config)
    if config.kind is RopeKind.LONGROPE:
        factors = torch.tensor(config.long_factor if long else config.short_factor)
        return 1.0 / (factors * wavelengths)
    return plain


def _llama3(plain: torch.Tensor, config: RopeConfig) -> torch.Tensor:
    """Llama 3.1: high frequencies as they are, low ones divided, the band between blended."""
    # Turns that a pair makes over the pretraining context.
    turns = config.original_length * plain / (2 * math.pi)
    span = config.high_freq_factor - config.low_freq_factor
    share = ((turns - config.low_freq_factor) / span).clamp(0.0, 1.0)
    return (1.0 - share) * plain / config.factor + share * plain


def _yarn(wavelengths: torch.Tensor, config: RopeConfig) -> torch.Tensor:
    """NTK-by-parts, section 3.2 of arXiv:2309.00071."""

    def dimension(turns: float) -> float:
        stretch = math.log(config.original_length / (turns * 2 * math.pi))
        return config.rotary_dim * stretch / (2 * math.log(config.theta))

    low, high = dimension(config.beta_fast), dimension(config.beta_slow)
    if config.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, config.rotary_dim - 1)
    if low == high:
        high += 0.001  # the ramp needs a width
    pairs = torch.arange(len(wavelengths), dtype=torch.float32)
    interpolated = ((pairs - low) / (high - low)).clamp(0.0, 1.0)
    return interpolated / (config.factor * wavelengths) + (1.0 - interpolated) / wavelengths
