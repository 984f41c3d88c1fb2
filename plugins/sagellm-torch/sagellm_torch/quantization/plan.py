"""What becomes of each weight under one setting of ``quantization``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .from_floats import INT4_GROUP, INT8_GROUP, int8_group, quantise_int4, quantise_int8
from .quantized_weight import QuantizedWeight, unpack_pairs

#: A weight as a checkpoint gives it: numbers, or the codes that it is stored as.
Part = torch.Tensor | QuantizedWeight
#: Counts changes of what becomes of a weight: what was kept under an older rule is made again.
RULES = 3
#: Inputs that share a scale where a weight was stored in few bits before.
_FINE = 32


@dataclass(slots=True)
class QuantizationPlan:
    """One setting, for one model; remembers what it did for :meth:`notes`."""

    #: ``none``, ``int8`` or ``int4``.
    name: str
    #: Whether the device computes with weights as they are stored, where they are codes.
    keeps_codes: bool = False
    _kept: set[str] = field(default_factory=set)
    _widened: set[str] = field(default_factory=set)
    _rounded: set[str] = field(default_factory=set)
    #: Whether any weight was rounded as :attr:`name` says, from floats too.
    _applied: bool = False
    _uneven: bool = False

    @property
    def exact(self) -> bool:
        """Whether inputs stay floats, so that results are those of the weights as stored."""
        return self.name == "none"

    @property
    def takes_codes(self) -> bool:
        """Whether a checkpoint's codes are wanted at all."""
        return self.name != "none" or self.keeps_codes

    def part(self, weight: Part, stored: str, *, head: bool = False) -> Part:
        """A weight as the device is to have it.

        :param stored: its type in the checkpoint.
        :param head: the output layer, which needs its 8 bits.
        """
        few_bits = stored not in _FLOATS
        if isinstance(weight, QuantizedWeight):
            if self.name != "int4" or weight.bits == 4 or head:
                self._kept.add(stored)
                return weight
            weight = weight.dequantise()
        if self.name == "none":
            if few_bits:
                self._widened.add(stored)
            return weight
        inputs = weight.shape[1]
        self._applied = True
        if few_bits:
            self._rounded.add(stored)
        if self.name == "int4" and not head:
            if inputs % INT4_GROUP == 0:
                return quantise_int4(weight)
            self._uneven = True
        return quantise_int8(weight, int8_group(inputs, _FINE if few_bits else INT8_GROUP))

    def record(self) -> dict[str, Any]:
        """What it did, to be restored where weights are taken from a cache."""
        return {
            "kept": sorted(self._kept),
            "widened": sorted(self._widened),
            "rounded": sorted(self._rounded),
            "applied": self._applied,
            "uneven": self._uneven,
        }

    def restore(self, record: Mapping[str, Any]) -> None:
        """Take over what :meth:`record` gave.

        :raises KeyError: it is no such record.
        """
        self._kept = set(record["kept"])
        self._widened = set(record["widened"])
        self._rounded = set(record["rounded"])
        self._applied = bool(record["applied"])
        self._uneven = bool(record["uneven"])

    @property
    def used(self) -> str:
        """What results are stamped with: its name and the types that were kept.

        ``int8``, ``q4_1`` where nothing had to be rounded, ``int8+q4_k`` where some was.
        """
        if self.name == "none" or not self._kept:
            return self.name
        kept = sorted(kind.lower() for kind in self._kept)
        return "+".join((self.name, *kept) if self._applied else kept)

    def notes(self) -> list[str]:
        """Sentences for the user about what is not plain from :attr:`used`."""
        told = []
        if not self.exact and not self.keeps_codes:
            told.append(
                f"Weights were rounded as {self.used} says, and are computed with as floats: this "
                "saves neither time nor memory."
            )
        elif not self.exact and self._kept:
            told.append(
                f"Weights of the types {_listed(self._kept)} are kept as they are stored; inputs "
                "are rounded to int8."
            )
        if self._widened:
            told.append(
                f"Weights of the types {_listed(self._widened)} have no kernel of their own: they "
                "are kept as floats."
            )
        if self._rounded:
            # Only what the output layer is stored as can be both.
            but = ", but for the output layer" if self._kept & self._rounded else ""
            told.append(
                f"Weights of the types {_listed(self._rounded)} were rounded again, to "
                f"{self.name}{but}."
            )
        if self._uneven:
            told.append(f"Layers whose inputs are no multiple of {INT4_GROUP} have 8 bits.")
        return told


#: Types of tensors that lose something by being rounded for the first time.
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


def _listed(kinds: set[str]) -> str:
    return ", ".join(sorted(kinds))


def alike(parts: Sequence[Part]) -> list[torch.Tensor] | list[QuantizedWeight]:
    """Layers over one input in one form, without loss, so that they can be one layer.

    4-bit codes become 8-bit ones where another part has those, and numbers stay numbers where
    any part is that.
    """
    coded = [part for part in parts if isinstance(part, QuantizedWeight)]
    if len(coded) < len(parts):
        return [p.dequantise() if isinstance(p, QuantizedWeight) else p for p in parts]
    bits = max(part.bits for part in coded)
    # The coarser group is cut into the finer one, whose multiple it is.
    group = min(part.group for part in coded)
    low = any(part.mins is not None for part in coded)
    return [_with(part, bits, group, low=low) for part in coded]


def _with(part: QuantizedWeight, bits: int, group: int, *, low: bool) -> QuantizedWeight:
    codes, scales, mins = part.codes, part.scales, part.mins
    if bits > part.bits:
        codes = unpack_pairs(codes).view(torch.int8)
    if low and mins is None:
        mins = torch.zeros_like(scales)
    if group != part.group:
        times = part.group // group
        scales = scales.repeat_interleave(times, dim=1)
        mins = None if mins is None else mins.repeat_interleave(times, dim=1)
    return QuantizedWeight(bits=bits, group=group, codes=codes, scales=scales, mins=mins)
