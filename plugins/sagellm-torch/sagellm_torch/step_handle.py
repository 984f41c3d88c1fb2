"""A step whose sampled tokens may still be on their way from the device."""

from __future__ import annotations

from collections.abc import Sequence

from sagellm_core.contract import StepResult

from .adapter import DeviceAdapter
from .device_errors import device_errors
from .sampling import Sampled


class TensorStep:
    """A :class:`~sagellm_core.contract.StepHandle` over tensors on the device.

    :param places: for each row of the call, its row among the sampled ones, or ``None``.
    """

    __slots__ = ("_adapter", "_places", "_result", "_sampled", "_wait")

    def __init__(
        self, sampled: Sampled | None, places: Sequence[int | None], adapter: DeviceAdapter
    ) -> None:
        self._sampled = sampled
        self._places = places
        self._adapter = adapter
        self._wait = None if sampled is None else adapter.download(sampled.tensors)
        self._result: StepResult | None = None

    def result(self) -> StepResult:
        """Wait for the step, whose tokens are on the host then.

        :raises DeviceOutOfMemoryError: it did not fit.
        :raises DeviceLostError: the device is gone.
        """
        if self._result is None:
            with device_errors(self._adapter):
                self._result = self._read()
            self._sampled = self._wait = None
        return self._result

    def _read(self) -> StepResult:
        if self._sampled is None or self._wait is None:
            return StepResult([-1] * len(self._places))
        sampled = self._sampled.moved(self._wait())
        tokens: list[int] = sampled.tokens.tolist()
        ids = [-1 if place is None else tokens[place] for place in self._places]
        if sampled.logprobs is None:
            return StepResult(ids)
        found = sampled.logprobs.listed(tokens)
        return StepResult(
            ids, [None if place is None else found.get(place) for place in self._places]
        )
