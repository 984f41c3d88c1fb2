"""A step whose sampled tokens may still be on their way from the device."""

from __future__ import annotations

from collections.abc import Sequence

from sagellm_core.contract import StepResult

from .memory_errors import device_memory_errors
from .sampling import Sampled


class TensorStep:
    """A :class:`~sagellm_core.contract.StepHandle` over tensors on the device.

    :param places: for each row of the call, its row among the sampled ones, or ``None``.
    """

    __slots__ = ("_places", "_result", "_sampled")

    def __init__(self, sampled: Sampled | None, places: Sequence[int | None]) -> None:
        self._sampled = sampled
        self._places = places
        self._result: StepResult | None = None

    def result(self) -> StepResult:
        """Wait for the step and copy its tokens to the host."""
        if self._result is None:
            with device_memory_errors():
                self._result = self._read()
            self._sampled = None
        return self._result

    def _read(self) -> StepResult:
        if self._sampled is None:
            return StepResult([-1] * len(self._places))
        tokens: list[int] = self._sampled.tokens.tolist()
        ids = [-1 if place is None else tokens[place] for place in self._places]
        if self._sampled.logprobs is None:
            return StepResult(ids)
        found = self._sampled.logprobs.to_host(tokens)
        return StepResult(
            ids, [None if place is None else found.get(place) for place in self._places]
        )
