"""Weights of few bits."""

from .from_floats import quantise_int4, quantise_int8
from .quantized_weight import QuantizedWeight

__all__ = ["QuantizedWeight", "quantise_int4", "quantise_int8"]
