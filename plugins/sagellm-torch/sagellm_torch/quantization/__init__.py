"""Weights of few bits."""

from .from_floats import int8_group, quantise_int4, quantise_int8
from .plan import RULES, Part, QuantizationPlan, alike
from .quantized_weight import QuantizedWeight

__all__ = [
    "RULES",
    "Part",
    "QuantizationPlan",
    "QuantizedWeight",
    "alike",
    "int8_group",
    "quantise_int4",
    "quantise_int8",
]
