"""The kit's own operators on the simulated device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagellm_core.contract import ConfigurationError
from sagellm_torch.adapter import DeviceAdapter, DeviceMemory

from .backend import sim_device
from .faults import FAULTS
from .operator_names import check_names
from .presence import DEVICE


class SimAdapter(DeviceAdapter):
    """An adapter that overrides nothing but what it knows of memory.

    :param options: settings of the device, which stay when the model is closed: ``memory``
        (bytes), ``forbid_dtypes`` and ``forbid_operators`` (lists of names, or one string with
        commas), ``dirty_memory``; and a fault to come: ``fail_with`` (``out_of_memory``,
        ``device_lost`` or ``error``), ``fail_after`` (operators), ``fail_at`` (an operator). A
        fault waits until the model is loaded.
    :raises ConfigurationError: an option is unknown, or has a value that it cannot have.
    """

    option_names = (
        "memory",
        "forbid_dtypes",
        "forbid_operators",
        "dirty_memory",
        "fail_with",
        "fail_after",
        "fail_at",
    )
    quantizations = ("int8", "int4")
    encoder_quantizations = ("int8",)

    def __init__(self, device: str = DEVICE, options: Mapping[str, Any] | None = None) -> None:
        # torch knows the device's name from here on.
        self.simulated = sim_device()
        super().__init__(device, options)
        given = self.options
        try:
            if "memory" in given:
                self.simulated.memory.total = _count("memory", given["memory"])
            if "forbid_dtypes" in given:
                self.simulated.forbidden_dtypes = _names("forbid_dtypes", given["forbid_dtypes"])
            if "forbid_operators" in given:
                names = _names("forbid_operators", given["forbid_operators"])
                self.simulated.forbidden_operators = names
            if "dirty_memory" in given:
                self.simulated.dirty_memory = _flag("dirty_memory", given["dirty_memory"])
            if given.get("fail_at") is not None:
                check_names([given["fail_at"]])
        except ValueError as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(str(error), hint="Mend the provider option.") from error
        self._check_fault()

    def _check_fault(self) -> None:
        given = self.options
        kind = given.get("fail_with")
        if kind is None:
            for name in ("fail_after", "fail_at"):
                if name in given:
                    raise ConfigurationError(
                        f"{name} says when, and nothing is to fail.",
                        hint=f"Set fail_with to one of {', '.join(FAULTS)}.",
                    )
        elif kind not in FAULTS:
            raise ConfigurationError(
                f"fail_with={kind!r} is not valid.",
                hint=f"fail_with is one of {', '.join(FAULTS)}.",
            )
        _count("fail_after", given.get("fail_after", 0))

    def memory(self) -> DeviceMemory:
        """What the device counts."""
        self.simulated.check("memory")
        return DeviceMemory(self.simulated.memory.total, self.simulated.memory.free)

    def synchronize(self) -> None:
        """Nothing is under way; a device that is gone cannot be waited for."""
        self.simulated.check("synchronize")

    def expect_fault(self) -> None:
        """Have the fault that the options ask for, from now on."""
        kind = self.options.get("fail_with")
        if kind is not None:
            self.simulated.fail_next(
                kind, after=self.options.get("fail_after", 0), at=self.options.get("fail_at")
            )


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(
            f"{name}={value!r} is not valid.", hint=f"{name} is an integer of at least 0."
        )
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"{name}={value!r} is not valid.", hint=f"{name} is true or false."
        )
    return value


def _names(name: str, value: Any) -> list[str]:
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple, set, frozenset)) or not all(
        isinstance(item, str) for item in listed
    ):
        raise ConfigurationError(
            f"{name}={value!r} is not valid.",
            hint=f"{name} is a list of names, or one string with commas between them.",
        )
    return [stripped for item in listed if (stripped := item.strip())]
