"""A Hygon DCU as a torch device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sagellm_torch import DTypeChoice
from sagellm_torch.adapter import DTYPES
from sagellm_torch.recorded import Recorder
from sagellm_torch.streams import StreamAdapter
from sagellm_torch.torch_build import TorchBuild, build_of
from sagellm_torch.triton import TritonAdapter

from .build import require_hip
from .graphs import recorder
from .tiles import TILES

#: What HIP says of a device that a process cannot use any more.
_FATAL = (
    "unspecified launch failure",
    "an illegal memory access was encountered",
    "invalid device function",
    "device-side assert",
    "gpu hang",
    "no rocm-capable device",
)


class DCUAdapter(TritonAdapter, StreamAdapter):
    """Triton's kernels with tiles that fit a DCU, and results by a stream of their own.

    :param device: as torch names it: ``cuda:0``, by its name for HIP devices.
    :param options: ``triton`` (``auto``, ``on`` or ``off``: the kernels, or torch's operators),
        ``graphs`` (``on`` or ``off``: whether decode steps are recorded as HIP graphs; not by
        default, because nobody has proven it here yet).
    :param build: the torch that computes; ``None``: the one that was imported.
    :raises ConfigurationError: an option is unknown, or has a value that it cannot have.
    :raises DeviceUnavailableError: torch is not built for HIP.
    """

    option_names = ("triton", "graphs")

    def __init__(
        self,
        device: str,
        options: Mapping[str, Any] | None = None,
        build: TorchBuild | None = None,
    ) -> None:
        require_hip(build_of(torch.version) if build is None else build)
        super().__init__(device, options, TILES)
        self._graphs = self._switch("graphs") == "on"

    def choose_dtype(self, asked: str, stored: torch.dtype | None) -> DTypeChoice:
        """float16, which all DCUs have instructions for; others for who asks."""
        if asked != "auto":
            return DTypeChoice(DTYPES[asked])
        if stored is torch.bfloat16:
            return DTypeChoice(
                torch.float16,
                "The weights are bfloat16; DCUs are sure to be fast in float16, so it computes in "
                "that, whose numbers end at 65,504. dtype='bfloat16' is taken as it is.",
            )
        return DTypeChoice(torch.float16)

    def recorder(self) -> Recorder | None:
        """HIP graphs, for who asks."""
        if not self._graphs or not self.kernels_ready:
            return None
        memory = self.memory()
        return None if memory is None else recorder(self.device, memory.total)

    def is_lost(self, error: BaseException) -> bool:
        """By HIP's words; of an error that says nothing, the DCU is asked."""
        text = str(error).lower()
        fatal = "hip" in text and any(words in text for words in _FATAL)
        return fatal or super().is_lost(error)
