"""The formulas that decoders and encoders are made of, each from its paper."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_erf = np.vectorize(erf, otypes=[np.float64])


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """Root mean square layer normalisation over the last axis (arXiv:1910.07467)."""
    return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """Layer normalisation over the last axis (arXiv:1607.06450)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + eps) * weight + bias)


def softmax(x: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def log_softmax(x: Array) -> Array:
    """Natural logarithm of :func:`softmax`."""
    shifted = x - x.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def silu(x: Array) -> Array:
    """``x * sigmoid(x)`` (arXiv:1606.08415)."""
    return np.asarray(x / (1.0 + np.exp(-x)))


def gelu(x: Array) -> Array:
    """``x`` times the normal distribution function, exactly (arXiv:1606.08415)."""
    return np.asarray(0.5 * x * (1.0 + _erf(x / sqrt(2.0))))


def rotate(x: Array, positions: NDArray[np.int64], theta: float) -> Array:
    """Rotary position embedding (arXiv:2104.09864).

    Pairs are (i, i + head_dim / 2), as checkpoints on the Hugging Face hub have them.

    :param x: of shape [tokens, heads, head_dim].
    :param positions: of shape [tokens].
    :param theta: base of the wavelengths.
    """
    half = x.shape[-1] // 2
    frequencies = theta ** (-np.arange(half, dtype=np.float64) / half)
    angles = positions[:, None, None] * frequencies  # [tokens, 1, half]
    cos, sin = np.cos(angles), np.sin(angles)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)


def attention(q: Array, k: Array, v: Array, mask: NDArray[np.bool_]) -> Array:
    """Scaled dot-product attention (arXiv:1706.03762) with grouped queries (arXiv:2305.13245).

    :param q: of shape [queries, heads, head_dim].
    :param k: and ``v`` of shape [keys, kv_heads, head_dim]; a group of query heads shares one.
    :param mask: of shape [queries, keys]: which key a query sees.
    :returns: of shape [queries, heads * head_dim].
    """
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = np.einsum("qhd,khd->hqk", q, k) / sqrt(q.shape[-1])
    weights = softmax(np.where(mask, scores, -np.inf))
    return np.asarray(np.einsum("hqk,khd->qhd", weights, v).reshape(len(q), -1))
