"""The simulated device: its settings, its faults, and what it was seen to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import NoReturn

import torch

from .faults import FAULTS, DeviceFailedError, Fault, NotOnDeviceError
from .memory import Allocation, MemoryLedger
from .observation import Copy, Direction, Observation
from .operator_names import check_names
from .place import calling_place
from .presence import DEFAULT_MEMORY, DEVICE

#: Accelerators rarely have these.
DEFAULT_FORBIDDEN_DTYPES = frozenset({torch.float64, torch.complex128})


class SimDevice:
    """The torch device ``sim:0``. :func:`~.backend.sim_device` gives it.

    Operators run on hidden tensors of the CPU, so numbers are those of the CPU. All attributes
    may be changed at any time; :meth:`reset` puts them back.
    """

    def __init__(self) -> None:
        self.name = DEVICE
        self.memory = MemoryLedger(DEFAULT_MEMORY)
        self._lock = RLock()
        self._watches: list[Observation] = []
        self.reset()

    def reset(self) -> None:
        """As it was in the beginning, but for what is allocated: sound, and with its defaults."""
        self.memory.total = DEFAULT_MEMORY
        self.memory.forget_peak()
        self._forbidden_dtypes = DEFAULT_FORBIDDEN_DTYPES
        self._forbidden_operators: frozenset[str] = frozenset()
        #: Whether memory that was never written holds NaN, or the least number of its type.
        self.dirty_memory = True
        #: Everything since the last reset; single copies are kept by :meth:`watch` alone.
        self.observed = Observation()
        self._faults: list[Fault] = []
        self._lost = ""

    # --- settings ----------------------------------------------------------------------

    @property
    def forbidden_dtypes(self) -> frozenset[torch.dtype]:
        """Types that no tensor on the device may have. May be set by name: ``{"float64"}``."""
        return self._forbidden_dtypes

    @forbidden_dtypes.setter
    def forbidden_dtypes(self, dtypes: Iterable[torch.dtype | str]) -> None:
        self._forbidden_dtypes = frozenset(map(_as_dtype, dtypes))

    @property
    def forbidden_operators(self) -> frozenset[str]:
        """Operators that the device does not have: ``{"nonzero", "item", "view_as_complex"}``.

        Names are those of ``torch.ops.aten``, of operators of others with their namespace
        (``vendor::norm``), and ``copy_to_device``, ``copy_to_host`` and ``item``.
        """
        return self._forbidden_operators

    @forbidden_operators.setter
    def forbidden_operators(self, names: Iterable[str]) -> None:
        self._forbidden_operators = check_names(names)

    # --- faults ------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """Whether the device is gone: everything fails until :meth:`reset`."""
        return bool(self._lost)

    def fail_next(self, kind: str, *, after: int = 0, at: str | None = None) -> None:
        """Have a fault.

        ``out_of_memory`` raises :class:`torch.OutOfMemoryError`, once. ``device_lost`` raises
        :class:`torch.AcceleratorError`, then and at every operator until :meth:`reset`. ``error``
        raises a :class:`RuntimeError` that means nothing in particular, once.

        :param after: so many operators succeed before. Views are no operators.
        :param at: only operators of this name count: ``mm``, ``copy_to_host``, ...
        :raises ValueError: the fault or the operator is not known, or ``after`` is negative.
        """
        if kind not in FAULTS:
            raise ValueError(f"There is no fault {kind!r}; there are: {', '.join(FAULTS)}.")
        if after < 0:
            raise ValueError(f"after={after} is not valid; it is at least 0.")
        if at is not None:
            check_names([at])
        self._faults.append(Fault(kind, after, at))

    # --- observing ---------------------------------------------------------------------

    @contextmanager
    def watch(self) -> Iterator[Observation]:
        """What happens within the block, with every copy and its place.

        ``with device.watch() as seen: handle = runner.decode(rows)``, and then
        ``assert not seen.waits``: the host queued the step without waiting for the device.
        """
        seen = Observation()
        self._watches.append(seen)
        self.memory.forget_peak()
        try:
            yield seen
        finally:
            seen.peak = self.memory.peak
            self._watches = [other for other in self._watches if other is not seen]

    # --- what operators call -----------------------------------------------------------

    def begin(self, operator: str) -> None:
        """An operator that computes is about to run.

        :raises NotOnDeviceError: it is forbidden; :class:`torch.AcceleratorError`: the device is
            gone; or a fault that was asked for.
        """
        self.check(operator)
        with self._lock:
            for fault in self._faults:
                if fault.strikes(operator):
                    self._faults.remove(fault)
                    self._strike(fault.kind, operator)
            for seen in (self.observed, *self._watches):
                seen.operators[operator] += 1

    def begin_view(self, operator: str) -> None:
        """A view is about to be made: as :meth:`begin`, but no fault happens here."""
        self.check(operator)
        with self._lock:
            for seen in (self.observed, *self._watches):
                seen.views[operator] += 1

    def check(self, what: str) -> None:
        """Refuse an operator that is forbidden, and anything once the device is gone."""
        if self._lost:
            raise torch.AcceleratorError(self._lost)
        if what in self._forbidden_operators:
            raise NotOnDeviceError(f"{self.name} has no operator {what!r} ({calling_place()}).")

    def copied(self, direction: Direction, nbytes: int, operator: str, *, waits: bool) -> None:
        """Something went from the host to the device, or back."""
        place = calling_place() if self._watches else ""
        copy = Copy(direction=direction, nbytes=nbytes, operator=operator, waits=waits, place=place)
        with self._lock:
            self.observed.note(copy, keep=False)
            for seen in self._watches:
                seen.note(copy, keep=True)

    def check_dtype(self, dtype: torch.dtype, operator: str) -> None:
        """Refuse a type that the device does not have."""
        if dtype in self._forbidden_dtypes:
            name = str(dtype).removeprefix("torch.")
            raise NotOnDeviceError(
                f"{self.name} has no type {name}: {operator!r} asks for it ({calling_place()})."
            )

    def allocate(self, hidden: torch.Tensor, operator: str) -> Allocation:
        """Memory for what an operator gives.

        :raises torch.OutOfMemoryError: there is not enough.
        """
        found = self.memory.of(hidden)
        if found is None:
            self.out_of_memory(hidden.untyped_storage().nbytes(), operator)
        return found

    def out_of_memory(self, nbytes: int, operator: str) -> NoReturn:
        """Say that an operator's result does not fit."""
        raise torch.OutOfMemoryError(
            f"{self.name} is out of memory: {operator!r} needs {nbytes:,} bytes, and "
            f"{self.memory.free:,} of {self.memory.total:,} are free ({calling_place()})."
        )

    def _strike(self, kind: str, operator: str) -> NoReturn:
        place = calling_place()
        if kind == "out_of_memory":
            raise torch.OutOfMemoryError(
                f"{self.name} is out of memory, as asked for, in {operator!r} ({place})."
            )
        if kind == "error":
            raise DeviceFailedError(f"{self.name} failed, as asked for, in {operator!r} ({place}).")
        self._lost = f"{self.name} was lost, as asked for, in {operator!r} ({place})."
        raise torch.AcceleratorError(self._lost)


def _as_dtype(dtype: torch.dtype | str) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else None
    if not isinstance(found, torch.dtype):
        raise ValueError(f"torch has no type {dtype!r}. Names are such as float64 and bfloat16.")
    return found
