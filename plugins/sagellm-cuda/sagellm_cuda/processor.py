"""What the kernels have to know about a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Processor:
    """A GPU as programs see it."""

    #: Compute capability, as (9, 0).
    capability: tuple[int, int]
    multiprocessors: int
    #: Bytes of shared memory that one program may have.
    shared_memory: int


def read_processor(device: torch.device) -> Processor:
    """Ask the driver; starts CUDA."""
    found = torch.cuda.get_device_properties(device)
    # What a program gets by asking for it is more than what it gets anyway.
    shared = getattr(found, "shared_memory_per_block_optin", found.shared_memory_per_block)
    return Processor((found.major, found.minor), found.multi_processor_count, shared)
