"""How far a device may be from the reference, by what the loaded model says it computes in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Limits for one precision."""

    #: A chosen token's logit may be so much below the best one, in standard deviations of the
    #: logits of its step.
    regret: float
    #: Log-probabilities may differ by so much; natural logarithm.
    logprob: float
    #: Cosine of an embedding and the reference's, at least.
    cosine: float

    @property
    def exact(self) -> bool:
        """Whether two ways to compute one thing must choose the same tokens."""
        return self.regret < 0.01


# Three times and more what plain modelling code was measured to be off by on the suite's models,
# whose weights are exact in each of these types (tests/testing/test_tolerance.py): 0 and 0.00002
# in float32, 0.0001 and 0.017 in float16, 0.017 and 0.10 in bfloat16.
_BY_DTYPE = {
    "float64": Tolerance(0.001, 0.005, 0.99999),
    "float32": Tolerance(0.001, 0.005, 0.99999),
    "float16": Tolerance(0.02, 0.06, 0.9999),
    "bfloat16": Tolerance(0.08, 0.4, 0.999),
}
#: Weights of 8 bits; those of fewer bits, and types that are not known.
_BITS8 = Tolerance(0.5, 1.0, 0.99)
_LOOSE = Tolerance(1.5, 3.0, 0.9)


def tolerance_of(dtype: str, quantization: str) -> Tolerance:
    """What a model may be off by.

    :param dtype: as :attr:`LoadedModel.dtype`.
    :param quantization: as :attr:`LoadedModel.quantization`.
    """
    if quantization in ("none", ""):
        return _BY_DTYPE.get(dtype, _LOOSE)
    return _BITS8 if "8" in quantization else _LOOSE
