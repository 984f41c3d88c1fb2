"""An NVIDIA GPU as a torch device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sagellm_torch import DTypeChoice
from sagellm_torch.adapter import DTYPES
from sagellm_torch.recorded import Recorder
from sagellm_torch.streams import StreamAdapter
from sagellm_torch.torch_build import build_of
from sagellm_torch.triton import TritonAdapter

from .build import require_cuda
from .dtypes import choose
from .errors import is_fatal, lacks_memory
from .graphs import recorder
from .processor import Processor, read_processor
from .tiles import tile_table


class CUDAAdapter(TritonAdapter, StreamAdapter):
    """Triton's kernels, recorded decode steps, results by a stream of their own.

    :param device: as torch names it: ``cuda:0``.
    :param options: ``triton`` (``auto``, ``on`` or ``off``: the kernels, or torch's operators),
        ``graphs`` (``auto``, ``on`` or ``off``: whether decode steps are recorded as CUDA graphs).
    :param processor: what the GPU is; ``None``: it is asked.
    :raises ConfigurationError: an option is unknown, or has a value that it cannot have.
    :raises DeviceUnavailableError: torch is not built for CUDA.
    """

    option_names = ("triton", "graphs")

    def __init__(
        self,
        device: str,
        options: Mapping[str, Any] | None = None,
        processor: Processor | None = None,
    ) -> None:
        if processor is None:
            require_cuda(build_of(torch.version))
            processor = read_processor(torch.device(device))
        self.processor = processor
        super().__init__(device, options, tile_table(processor))
        self._graphs = self._switch("graphs") != "off"

    def choose_dtype(self, asked: str, stored: torch.dtype | None) -> DTypeChoice:
        """bfloat16 where the GPU has it, else float16; float32 for who asks."""
        names = {dtype: name for name, dtype in DTYPES.items()}
        name, note = choose(
            asked, None if stored is None else names[stored], self.processor.capability
        )
        return DTypeChoice(DTYPES[name], note)

    def cache_budget(self, free: int, enough: int) -> int:
        """Most of what is free; the rest is for a step's own memory, and graphs."""
        return min(int(free * 0.85), enough)

    def recorder(self) -> Recorder | None:
        """CUDA graphs, unless the user does without, or attention needs the host."""
        if not self._graphs or not self.kernels_ready:
            return None
        memory = self.memory()
        return None if memory is None else recorder(self.device, memory.total)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Also when a library found none."""
        return super().is_out_of_memory(error) or lacks_memory(error)

    def is_lost(self, error: BaseException) -> bool:
        """By CUDA's words; of an error that says nothing, the GPU is asked."""
        return is_fatal(error) or super().is_lost(error)
