"""The memory of a simulated device, counted in bytes."""

from __future__ import annotations

from collections import deque
from threading import RLock
from weakref import WeakValueDictionary

import torch


class Allocation:
    """A block of device memory, for as long as a tensor refers to it."""

    __slots__ = ("__weakref__", "_freed", "nbytes")

    def __init__(self, nbytes: int, freed: deque[int]) -> None:
        self.nbytes = nbytes
        self._freed = freed

    def __del__(self) -> None:
        # The collector may run in the middle of anything: appending is one step, and the ledger
        # takes it up when it is asked the next time.
        self._freed.append(self.nbytes)


class MemoryLedger:
    """What is allocated of ``total`` bytes.

    :param total: what a new allocation is held to; may be changed at any time.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._lock = RLock()
        self._taken = 0
        self._peak = 0
        self._freed: deque[int] = deque()
        self._by_storage: WeakValueDictionary[int, Allocation] = WeakValueDictionary()

    @property
    def allocated(self) -> int:
        """Bytes in use now."""
        with self._lock:
            while self._freed:
                self._taken -= self._freed.popleft()
            return self._taken

    @property
    def free(self) -> int:
        """Bytes that may still be allocated."""
        return max(0, self.total - self.allocated)

    @property
    def peak(self) -> int:
        """The most that was in use at once, since :meth:`forget_peak`."""
        return max(self._peak, self.allocated)

    def forget_peak(self) -> None:
        """Begin the peak anew, at what is in use now."""
        with self._lock:
            self._peak = self.allocated

    def of(self, hidden: torch.Tensor) -> Allocation | None:
        """The allocation that holds a hidden tensor; ``None`` when there is no room for it.

        Views share what the tensor that they look into has.
        """
        storage = hidden.untyped_storage()
        with self._lock:
            found = self._by_storage.get(storage._cdata)
            if found is not None:
                return found
            nbytes = storage.nbytes()
            if nbytes > self.free:
                return None
            made = Allocation(nbytes, self._freed)
            self._by_storage[storage._cdata] = made
            self._taken += nbytes
            self._peak = max(self._peak, self._taken)
            return made
