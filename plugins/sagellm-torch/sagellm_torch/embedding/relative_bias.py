"""A bias by the distance of two tokens, as T5 and MPNet add it to attention scores.

The buckets are those of section 2.1 of arXiv:1910.10683: half of them for keys after the query;
of each half, one a distance at first, then logarithmically wider ones.
"""

from __future__ import annotations

import math

import torch

#: Distances from here on share the last bucket.
_FARTHEST = 128


def relative_bias(weight: torch.Tensor, length: int) -> torch.Tensor:
    """The bias of every query and key, [heads, length, length].

    :param weight: [buckets, heads].
    """
    buckets = weight.shape[0] // 2
    places = torch.arange(length, device=weight.device)
    offset = places[None, :] - places[:, None]  # [query, key]
    distance = offset.abs()
    exact = buckets // 2
    spread = math.log(_FARTHEST / exact)
    wide = torch.log(distance.clamp(min=1).float() / exact) / spread * (buckets - exact)
    wide = (exact + wide.long()).clamp(max=buckets - 1)
    bucket = torch.where(distance < exact, distance, wide) + (offset > 0) * buckets
    return weight[bucket].permute(2, 0, 1).contiguous()
