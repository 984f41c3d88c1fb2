"""Decode steps as HIP graphs, which torch offers under its other name for them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from sagellm_torch.graph_recorder import GraphRecorder

#: Of the DCU's memory, what graphs may take.
_SHARE = 0.04


def recorder(device: torch.device, total: int) -> GraphRecorder:
    """Records graphs that share one pool of memory.

    :param total: bytes of the DCU's memory.
    """
    pool = torch.cuda.graph_pool_handle()

    def recording(graph: Any) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = torch.cuda.graph(graph, pool=pool)
        return context

    return GraphRecorder(device, torch.cuda.CUDAGraph, recording, int(total * _SHARE))
