"""Devices with streams, events and a caching allocator, as torch's device modules offer them.

``torch.get_device_module(device)`` is that module. Its names are the same for every vendor, so
nothing here is of one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from .adapter import DeviceAdapter, DeviceMemory
from .recorded import RecordedDecode, Recorder
from .step import DecodeStep


class StreamAdapter(DeviceAdapter):
    """A device whose operators are queued on streams.

    Numbers go to it from pinned memory, so that the host does not wait. Results come back on a
    stream of their own: reading one step waits for that step, though the next one is queued.
    """

    #: Whether memory of the host can be pinned: kept where it is, so that the device copies from
    #: and to it by itself.
    pins_memory: bool = True
    #: The stream of results, made when there is the first one.
    _side: Any = None
    #: Why decode steps are not recorded, for the user.
    _graph_note: str = ""

    @property
    def module(self) -> Any:
        """Streams, events and memory of the device, as ``torch.get_device_module`` gives them."""
        return torch.get_device_module(self.device)

    def current(self) -> AbstractContextManager[Any]:
        """Kernels that are no operators of torch go to the thread's current device."""
        context: AbstractContextManager[Any] = self.module.device(self.device)
        return context

    def memory(self) -> DeviceMemory | None:
        """What the driver tells, and what torch keeps without using it."""
        free, total = self.module.mem_get_info(self.device)
        kept = self.module.memory_reserved(self.device) - self.module.memory_allocated(self.device)
        return DeviceMemory(total, free + kept)

    def upload(self, values: Sequence[float], dtype: torch.dtype = torch.int64) -> torch.Tensor:
        """From pinned memory: from any other the driver may wait for the device first."""
        if not values:
            return torch.empty(0, dtype=dtype, device=self.device)
        numbers = torch.tensor(values, dtype=dtype, pin_memory=self.pins_memory)
        return numbers.to(self.device, non_blocking=True)

    def download(self, tensors: Sequence[torch.Tensor]) -> Callable[[], Sequence[torch.Tensor]]:
        """By the side stream, into pinned memory; waits for an event behind the copies."""
        module = self.module
        if self._side is None:
            self._side = module.Stream(self.device)
        done = module.Event()
        self._side.wait_stream(module.current_stream(self.device))
        with module.stream(self._side):
            copies = [
                torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self.pins_memory).copy_(
                    tensor, non_blocking=True
                )
                for tensor in tensors
            ]
            done.record()
        for tensor in tensors:
            # Its memory is not given to others before the copy is done.
            tensor.record_stream(self._side)

        def wait() -> Sequence[torch.Tensor]:
            done.synchronize()
            return copies

        return wait

    def recorder(self) -> Recorder | None:
        """How decode steps are recorded; ``None``: they are not."""
        return None

    def capture_decode(
        self,
        forward: Callable[[DecodeStep], torch.Tensor],
        idle: Callable[[int], DecodeStep],
        rows: int,
    ) -> Callable[[DecodeStep], torch.Tensor]:
        """Recorded for each width, where the device has a recorder."""
        recorder = self.recorder()
        if recorder is None:
            return forward
        return RecordedDecode(forward, idle, rows, recorder, self._tell_graphs)

    def _tell_graphs(self, why: str) -> None:
        self._graph_note = why

    @property
    def kernel_notes(self) -> Sequence[str]:
        """Those of the operators, and why steps are not recorded."""
        notes = super().kernel_notes
        return (*notes, self._graph_note) if self._graph_note else notes

    def synchronize(self) -> None:
        """Wait for all streams."""
        self.module.synchronize(self.device)

    def release(self) -> None:
        """Give back memory that is kept between steps, and what torch's allocator holds."""
        super().release()
        self.module.empty_cache()
