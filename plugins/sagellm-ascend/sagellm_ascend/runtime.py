"""torch_npu itself: imported here and nowhere else, once a model is loaded.

torch imports torch_npu by itself where it is installed (``torch.backends`` entry points), unless
``TORCH_DEVICE_BACKEND_AUTOLOAD=0``; so ``import torch`` fails too where CANN is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from sagellm_core.contract import DeviceUnavailableError

from .packages import INSTALL

if TYPE_CHECKING:
    import torch
    from sagellm_torch import DeviceMemory

    from .operators import Operators

#: Chips that have the fused operators, as torch_npu spells them: those of Atlas A2, as
#: ``Ascend910B3``, of A3, as ``Ascend910_9382``, and the 950s. The first 910s and 310s have not.
_FUSED_CHIPS = re.compile(r"Ascend(910B\d|910_93|950)")


class Runtime(Protocol):
    """What the adapter asks of an NPU."""

    @property
    def chip(self) -> str:
        """The chip's name, as ``Ascend910B3``."""
        ...

    @property
    def operators(self) -> Operators | None:
        """torch_npu's operators; ``None`` where the chip has not the fused ones."""
        ...

    @property
    def bfloat16(self) -> bool:
        """Whether it computes in bfloat16."""
        ...

    @property
    def attention_types(self) -> Collection[torch.dtype]:
        """What fused attention computes in."""
        ...

    @property
    def writes_caches(self) -> bool:
        """Whether the operator that writes a paged cache takes one in plain layout."""
        ...

    def memory(self) -> DeviceMemory | None:
        """Total and free memory now."""
        ...

    def synchronize(self) -> None:
        """Wait for everything that was queued."""
        ...

    def download(self, tensors: Sequence[torch.Tensor]) -> Callable[[], Sequence[torch.Tensor]]:
        """Copy tensors to the host; the function that this returns waits for them."""
        ...

    def release(self) -> None:
        """Give memory that is kept for later back to the device."""
        ...


class NPURuntime:
    """An NPU of this process, through torch_npu.

    :param device: as torch names it: ``npu:0``.
    :param loaded: torch, with ``torch.npu``.
    """

    def __init__(self, device: str, loaded: Any) -> None:
        self._npu = loaded.npu
        self._device = loaded.device(device)
        self._table = loaded.ops.npu
        self._empty = loaded.empty
        self.chip: str = self._npu.get_device_name(self._device.index)
        self.bfloat16: bool = bool(self._npu.is_bf16_supported())
        self.attention_types = frozenset({loaded.float16, loaded.bfloat16})
        # The first releases of torch_npu 2.7.1 to 2.9.0 know no plain layout.
        self.writes_caches = takes(self._table, "npu_scatter_pa_kv_cache", "cache_mode")

    @property
    def operators(self) -> Operators | None:
        """torch_npu's operators; ``None`` where the chip has not the fused ones."""
        table: Operators = self._table
        return table if has_fused_operators(self.chip) else None

    def memory(self) -> DeviceMemory:
        """Total and free memory now."""
        from sagellm_torch import DeviceMemory

        free, total = self._npu.mem_get_info(self._device)
        return DeviceMemory(total, free)

    def synchronize(self) -> None:
        """Wait for everything that was queued."""
        self._npu.synchronize(self._device)

    def download(self, tensors: Sequence[torch.Tensor]) -> Callable[[], Sequence[torch.Tensor]]:
        """Into pinned memory, behind what is queued now; an event says when they are there."""
        copies = [self._pinned(each).copy_(each, non_blocking=True) for each in tensors]
        arrived = self._npu.Event()
        arrived.record()

        def wait() -> Sequence[torch.Tensor]:
            arrived.synchronize()
            return copies

        return wait

    def _pinned(self, like: torch.Tensor) -> torch.Tensor:
        empty: torch.Tensor = self._empty(like.shape, dtype=like.dtype, pin_memory=True)
        return empty

    def release(self) -> None:
        """Give memory that torch_npu keeps for later back to the device."""
        self._npu.empty_cache()


def start(device: str) -> NPURuntime:
    """Import torch_npu and make sure that there is an NPU.

    :raises DeviceUnavailableError: torch_npu is missing, cannot be loaded, is too old, or finds no
        NPU; the root cause is kept.
    """
    torch = _import()
    count = torch.npu.device_count() if torch.npu.is_available() else 0
    if int(device.rpartition(":")[2]) >= count:
        raise DeviceUnavailableError(
            f"torch_npu finds no {device}: it sees {count} NPUs.",
            hint="See whether `npu-smi info` lists it as healthy, and unset "
            "ASCEND_RT_VISIBLE_DEVICES.",
        )
    check_operators(torch.ops.npu)
    try:
        # Else work without a device of its own would open NPU 0 as well.
        torch.npu.set_device(device)
        return NPURuntime(device, torch)
    except RuntimeError as error:
        raise DeviceUnavailableError(
            f"{device} could not be opened: {_said(error)}.",
            hint="See whether `npu-smi info` lists it as healthy, and who else uses it.",
        ) from error


def has_fused_operators(chip: str) -> bool:
    """Whether a chip is of the generations that the fused operators are documented for."""
    return _FUSED_CHIPS.match(chip) is not None


def check_operators(table: Any) -> None:
    """Refuse a torch_npu without the operators that are used.

    :raises DeviceUnavailableError: naming those that are missing.
    """
    from .operators import NAMES

    missing = [name for name in NAMES if not hasattr(table, name)]
    if missing:
        raise DeviceUnavailableError(
            f"The installed torch_npu has no {', '.join(missing)}.",
            hint=f"Install 2.7.1 or a newer one: {INSTALL}",
        )


def takes(table: Any, name: str, argument: str) -> bool:
    """Whether an operator has an argument."""
    schema = getattr(table, name).default._schema
    return any(each.name == argument for each in schema.arguments)


def _import() -> Any:
    try:
        import torch

        import_module("torch_npu")  # It adds torch.npu.
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "torch_npu"):
            raise _unloadable(error) from error
        raise DeviceUnavailableError(
            f"{error.name} is not installed.", hint=f"Install it: {INSTALL}"
        ) from error
    except Exception as error:  # torch_npu raises plain Exception for what it misses of CANN
        raise _unloadable(error) from error
    return torch


def _unloadable(error: BaseException) -> DeviceUnavailableError:
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    return DeviceUnavailableError(
        f"torch_npu could not be loaded: {_said(root)}.",
        hint="Run `sagellm doctor`: it says whether CANN is installed and set up (source its "
        "set_env.sh), and whether torch and torch_npu belong together.",
    )


def _said(error: BaseException) -> str:
    """The first line of an error, without the full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")
