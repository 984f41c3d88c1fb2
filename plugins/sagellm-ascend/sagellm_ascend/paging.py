"""Block tables, lengths and masks, as ``npu_fused_infer_attention_score`` takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from sagellm_torch import PrefillStep

#: Copies integers to the device.
Upload = Callable[[Sequence[int]], torch.Tensor]


def chunk_table(step: PrefillStep) -> torch.Tensor:
    """The blocks of each sequence of a prefill, [B, most blocks of a sequence], int32.

    Past a sequence's own blocks it holds 0, which is not read: lengths are told beside it.
    """
    width = max(segment.blocks.numel() for segment in step.segments)
    rows = [F.pad(each.blocks, (0, width - each.blocks.numel())) for each in step.segments]
    return torch.stack(rows).to(torch.int32)


def single_query_paging(
    blocks: torch.Tensor,
    contexts: Sequence[int],
    window: int | None,
    block_size: int,
    upload: Upload,
) -> dict[str, Any]:
    """Arguments for one query a sequence, which sees its last ``window`` tokens.

    The operator knows no window there. So blocks before the window are left out, and a mask hides
    what is before it in the first that is left.

    :param blocks: [B, most blocks of a sequence]; ``contexts``: tokens of each sequence.
    """
    hidden = [0 if window is None else max(0, context - window) for context in contexts]
    if not any(hidden):
        return {"block_table": blocks.to(torch.int32), "actual_seq_lengths_kv": list(contexts)}
    skipped = [count // block_size for count in hidden]
    seen = [context - count * block_size for context, count in zip(contexts, skipped, strict=True)]
    width = -(-max(seen) // block_size)
    last = blocks.shape[1] - 1
    columns = upload([min(first + i, last) for first in skipped for i in range(width)])
    table = blocks.gather(1, columns.view(-1, width))
    first_seen = upload([count % block_size for count in hidden])
    places = torch.arange(width * block_size, device=blocks.device)
    return {
        "block_table": table.to(torch.int32),
        "actual_seq_lengths_kv": seen,
        "atten_mask": (places < first_seen.unsqueeze(1))[:, None, None, :],
    }
