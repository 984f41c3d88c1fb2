"""Rotary position embeddings as configs describe them.

Two spellings are in use: ``rope_theta`` beside ``rope_scaling`` (configs written before
transformers 5), and ``rope_parameters``, which holds both and may be nested by layer type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sagellm_core.contract.errors import ModelFormatError, UnsupportedModelError

from .config_fields import ConfigFields


class RopeKind(StrEnum):
    """How the rotation frequencies follow from the base."""

    #: Su et al. 2021, arXiv:2104.09864.
    DEFAULT = "default"
    #: Position interpolation: Chen et al. 2023, arXiv:2306.15595.
    LINEAR = "linear"
    #: As in Llama 3.1: only long wavelengths are stretched.
    LLAMA3 = "llama3"
    #: Peng et al. 2023, arXiv:2309.00071.
    YARN = "yarn"
    #: Ding et al. 2024, arXiv:2402.13753.
    LONGROPE = "longrope"


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """One rotary embedding."""

    kind: RopeKind
    theta: float
    #: How many of a head's dimensions are rotated; even.
    rotary_dim: int
    factor: float = 1.0
    #: Context of the pretraining, where the kind has one.
    original_length: int = 0
    #: Multiplies cosine and sine.
    attention_factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    #: One divisor a frequency; LongRoPE switches to ``long_factor`` past ``original_length``.
    short_factor: tuple[float, ...] = ()
    long_factor: tuple[float, ...] = ()


def rope_entry(config: Mapping[str, Any], layer_type: str | None = None) -> Mapping[str, Any]:
    """The dictionary that describes the rotation, whatever the spelling; without defaults.

    :param layer_type: ``full_attention`` or ``sliding_attention``, for nested parameters.
    :raises ModelFormatError: it is not a dictionary.
    """
    entry = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(entry, Mapping):
        raise ModelFormatError(
            f"The rotary parameters of the config are a {type(entry).__name__}, not an object.",
            hint="rope_parameters (or rope_scaling) must be a JSON object.",
        )
    nested = entry.get(layer_type) if layer_type is not None else None
    return nested if isinstance(nested, Mapping) else entry


def read_rope(
    fields: ConfigFields,
    entry: Mapping[str, Any],
    *,
    head_dim: int,
    default_theta: float,
    max_length: int,
    phi3: bool = False,
) -> RopeConfig:
    """A :class:`RopeConfig` from ``entry`` and the fields beside it.

    :param phi3: Phi-3's habits: ``su`` and ``yarn`` are old names of ``longrope``.
    :raises UnsupportedModelError: the kind is none of :class:`RopeKind`; it is named.
    :raises ModelFormatError: a number is missing or impossible.
    """
    kind = _kind(fields, entry, phi3=phi3)
    own = ConfigFields(entry, where="rotary parameters")
    theta = own.number("rope_theta", fields.number("rope_theta", default_theta))
    partial = own.number("partial_rotary_factor", fields.number("partial_rotary_factor", 1.0))
    rotary_dim = int(head_dim * partial)
    if not 2 <= rotary_dim <= head_dim or rotary_dim % 2:
        raise ModelFormatError(
            f"A head of {head_dim} dimensions with partial_rotary_factor={partial:g} rotates "
            f"{rotary_dim} dimensions.",
            hint="The number of rotated dimensions must be even and at least 2.",
        )
    if theta <= 1:
        raise ModelFormatError(f"rope_theta={theta:g} is impossible.", hint="It is above 1.")
    if kind is RopeKind.DEFAULT:
        return RopeConfig(kind=kind, theta=theta, rotary_dim=rotary_dim)
    if kind is RopeKind.LINEAR:
        factor = own.stretch("factor")
        return RopeConfig(kind=kind, theta=theta, rotary_dim=rotary_dim, factor=factor)
    original = _original_length(fields, own, max_length)
    if kind is RopeKind.LLAMA3:
        return _llama3(own, theta, rotary_dim, original)
    if kind is RopeKind.YARN:
        return _yarn(own, theta, rotary_dim, original, max_length)
    return _longrope(own, theta, rotary_dim, original, max_length)


def _kind(fields: ConfigFields, entry: Mapping[str, Any], *, phi3: bool) -> RopeKind:
    name = entry.get("rope_type") or entry.get("type") or "default"
    if phi3 and name in ("su", "yarn"):
        name = "longrope"
    try:
        kind = RopeKind(name)
    except ValueError:
        known = ", ".join(kind.value for kind in RopeKind)
        raise UnsupportedModelError(
            f"The rotary embedding {name!r} of this {fields.model_type!r} model is not supported.",
            hint=f"The native decoder computes these: {known}.",
        ) from None
    # "mrope_section" marks rotations over several axes that text-only code would get wrong.
    for key in ("mrope_section", "mrope_interleaved"):
        if entry.get(key):
            raise UnsupportedModelError(
                f"The rotary embedding of this {fields.model_type!r} model has {key}.",
                hint="Only rotations over one position axis are supported.",
            )
    return kind


def _original_length(fields: ConfigFields, own: ConfigFields, max_length: int) -> int:
    # A value beside the rotary parameters has precedence: Phi-3 keeps it there.
    outer = fields.optional_integer("original_max_position_embeddings")
    if outer is not None:
        return outer
    inner = own.optional_integer("original_max_position_embeddings")
    return max_length if inner is None else inner


def _llama3(own: ConfigFields, theta: float, rotary_dim: int, original: int) -> RopeConfig:
    low, high = own.positive("low_freq_factor"), own.positive("high_freq_factor")
    if high <= low:
        raise ModelFormatError(
            f"high_freq_factor={high:g} is not above low_freq_factor={low:g}.",
            hint="Check rope_scaling in the model's config.json.",
        )
    return RopeConfig(
        kind=RopeKind.LLAMA3,
        theta=theta,
        rotary_dim=rotary_dim,
        factor=own.stretch("factor"),
        original_length=original,
        low_freq_factor=low,
        high_freq_factor=high,
    )


def _yarn(
    own: ConfigFields, theta: float, rotary_dim: int, original: int, max_length: int
) -> RopeConfig:
    factor = own.stretch("factor") if own.has("factor") else max_length / original
    attention_factor = own.optional_number("attention_factor")
    if attention_factor is None:
        mscale = own.optional_number("mscale")
        mscale_all = own.optional_number("mscale_all_dim")
        attention_factor = _yarn_magnitude(factor, 1.0)
        if mscale and mscale_all:
            attention_factor = _yarn_magnitude(factor, mscale) / _yarn_magnitude(factor, mscale_all)
    return RopeConfig(
        kind=RopeKind.YARN,
        theta=theta,
        rotary_dim=rotary_dim,
        factor=factor,
        original_length=original,
        attention_factor=attention_factor,
        beta_fast=own.optional_number("beta_fast") or 32.0,
        beta_slow=own.optional_number("beta_slow") or 1.0,
        truncate=own.flag("truncate", True),
    )


def _yarn_magnitude(factor: float, mscale: float) -> float:
    """Temperature of YaRN, equation 22 of arXiv:2309.00071, as a factor of cosine and sine."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def _longrope(
    own: ConfigFields, theta: float, rotary_dim: int, original: int, max_length: int
) -> RopeConfig:
    factor = own.optional_number("factor") or max_length / original
    attention_factor = own.optional_number("attention_factor")
    if attention_factor is None:
        stretched = factor > 1 and original > 1
        attention_factor = (
            math.sqrt(1 + math.log(factor) / math.log(original)) if stretched else 1.0
        )
    return RopeConfig(
        kind=RopeKind.LONGROPE,
        theta=theta,
        rotary_dim=rotary_dim,
        factor=factor,
        original_length=original,
        attention_factor=attention_factor,
        short_factor=own.numbers("short_factor", rotary_dim // 2),
        long_factor=own.numbers("long_factor", rotary_dim // 2),
    )
