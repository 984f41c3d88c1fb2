"""Random numbers that depend on nothing but a seed and a position.

A request then draws the same tokens alone, in any batch, and after a preemption.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def uniform(seed: int, index: int) -> float:
    """The ``index``-th number of the stream ``seed``: uniform in [0, 1), with 53 bits.

    SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195), whose state is
    addressed directly. The seed is mixed first, so that near seeds give unrelated streams.
    """
    state = (_mix(seed & _MASK) + (index + 1) * _GOLDEN) & _MASK
    return (_mix(state) >> 11) / float(1 << 53)


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
