"""Decode steps as CUDA graphs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from sagellm_torch.graph_recorder import GraphRecorder

#: Of the GPU's memory, what graphs may take. The KV cache leaves more than that free.
_SHARE = 0.04


def recorder(device: torch.device, total: int) -> GraphRecorder:
    """Records graphs that share one pool of memory.

    :param total: bytes of the GPU's memory.
    """
    pool = torch.cuda.graph_pool_handle()

    def recording(graph: Any) -> AbstractContextManager[Any]:
        # Other threads of the process may use CUDA meanwhile.
        context: AbstractContextManager[Any] = torch.cuda.graph(
            graph, pool=pool, capture_error_mode="thread_local"
        )
        return context

    return GraphRecorder(device, torch.cuda.CUDAGraph, recording, int(total * _SHARE))
