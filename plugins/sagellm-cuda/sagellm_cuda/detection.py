"""Which GPUs CUDA would show to torch here, and why not the others. Never touches CUDA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sagellm_torch.hardware import AccessCheck, PCIDevice, Problem, may_open
from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import DeviceInfo, DeviceState

from . import inventory, order, visibility
from .fitness import misfit
from .inventory import Inventory
from .nvml import NOT_ASKED, NVMLReport
from .visibility import Shown

#: The id of the entry that says there is nothing.
_NOTHING = "cuda"
#: What the container toolkit was asked for, and the values that ask for nothing.
_GIVEN = "NVIDIA_VISIBLE_DEVICES"
_NONE_GIVEN = ("", "none", "void")
#: Makers of display devices, by PCI vendor.
_VENDORS = {0x1002: "AMD", 0x8086: "Intel", 0x1D94: "Hygon", 0x1A03: "ASPEED", 0x102B: "Matrox"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All that detection goes by."""

    env: Mapping[str, str]
    #: ``/``, or a made tree.
    root: Path
    #: The torch that would be imported; ``None`` where there is none.
    torch: TorchBuild | None
    nvml: NVMLReport = NOT_ASKED
    access: AccessCheck = may_open


def detect(here: Surroundings) -> list[DeviceInfo]:
    """Every device: those that torch would number first, in its order, then others of NVIDIA.

    A GPU that torch will see is ``cuda:N``; one that it will not see has no number and is
    named by its address.
    """
    found = inventory.take(here.env, here.root, here.nvml, here.access)
    ready = [gpu for gpu in found.gpus if gpu.problem is None]
    if not ready and found.container and here.env.get(_GIVEN) in _NONE_GIVEN:
        return [_absent(f"{_GIVEN} is {here.env[_GIVEN]!r}, so the container was given no GPU")]
    if not found.gpus and not found.unserved:
        return [_absent(_nowhere(found))]
    # A GPU with a problem has no number while others have: CUDA does not count it.
    counted = order.counted(ready or found.gpus, here.env)
    seen = visibility.visible(counted, here.env.get(visibility.VARIABLE))
    if seen.hidden is not None and seen.deliberate:
        return [_absent(seen.hidden.reason, seen.hidden.hint)]
    if seen.hidden is not None and counted:
        return [_misnamed(seen.hidden, found)]
    devices = [
        _described(f"cuda:{number}", shown, found, here)
        for number, shown in enumerate(seen.devices)
    ]
    if ready:
        devices += [
            _described(f"cuda@{gpu.address or gpu.uuid or gpu.minor}", Shown(gpu), found, here)
            for gpu in found.gpus
            if gpu.problem is not None
        ]
    return devices + _unserved(found)


def _described(name: str, shown: Shown, found: Inventory, here: Surroundings) -> DeviceInfo:
    gpu, facts = shown.gpu, shown.instance or shown.gpu
    problem = gpu.problem or misfit(here.torch, gpu, found.driver, here.nvml, here.env, here.root)
    return DeviceInfo(
        id=name,
        state=DeviceState.USABLE if problem is None else DeviceState.PRESENT_UNUSABLE,
        name=facts.name or gpu.name,
        reason=problem.reason if problem else "",
        hint=problem.hint if problem else "",
        memory_total=facts.memory_total,
        memory_free=facts.memory_free,
        driver=found.driver,
        physical_id=shown.physical_id,
    )


def _misnamed(problem: Problem, found: Inventory) -> DeviceInfo:
    """Whoever hides every GPU wants none; whoever names ones that are not there errs."""
    return DeviceInfo(
        id=_NOTHING,
        state=DeviceState.PRESENT_UNUSABLE,
        reason=problem.reason,
        hint=problem.hint,
        driver=found.driver,
    )


def _unserved(found: Inventory) -> list[DeviceInfo]:
    """GPUs on the bus that NVIDIA's driver does not drive."""
    return [
        DeviceInfo(
            id=f"cuda@{device.address}",
            # One that was given to a virtual machine is here no more.
            state=DeviceState.ABSENT
            if device.driver == "vfio-pci"
            else DeviceState.PRESENT_UNUSABLE,
            name="NVIDIA GPU",
            reason=problem.reason,
            hint=problem.hint,
            driver=found.driver,
            physical_id=device.address,
        )
        for device in found.unserved
        for problem in (_not_driven(device, found),)
    ]


def _not_driven(device: PCIDevice, found: Inventory) -> Problem:
    if device.driver == "vfio-pci":
        return Problem("it was given to a virtual machine (driver vfio-pci)")
    if found.container:
        return Problem(
            "the container was given no GPU, or the host has no NVIDIA driver",
            "Start the container with its GPUs, as in: docker run --gpus all.",
        )
    if device.driver and device.driver != "nvidia":
        return Problem(
            f"it runs under the driver {device.driver}, which knows no CUDA",
            "Install NVIDIA's own driver, and reboot.",
        )
    if found.has_driver:
        return Problem(
            "NVIDIA's driver is loaded and does not drive it",
            "The kernel's log says why (dmesg); new drivers leave out old GPUs.",
        )
    return Problem("NVIDIA's driver is not loaded", "Install it, or load it: sudo modprobe nvidia.")


def _absent(reason: str, hint: str = "") -> DeviceInfo:
    return DeviceInfo(id=_NOTHING, state=DeviceState.ABSENT, reason=reason, hint=hint)


def _nowhere(found: Inventory) -> str:
    if found.wsl:
        return (
            "Windows lends a GPU (/dev/dxg), and there is no libcuda.so in /usr/lib/wsl/lib: it is "
            "not NVIDIA's, or Windows has no driver of NVIDIA's"
        )
    if found.has_driver:
        return "NVIDIA's driver is loaded, and there is no GPU for it"
    if found.others:
        return f"there is no GPU of NVIDIA, only of {_makers(found.others)}"
    return (
        "there is no /dev/nvidiactl, no /proc/driver/nvidia and no display device of PCI vendor "
        "0x10de"
    )


def _makers(devices: Sequence[PCIDevice]) -> str:
    numbers = dict.fromkeys(device.vendor for device in devices)
    return ", ".join(_VENDORS.get(number, f"PCI vendor {number:#06x}") for number in numbers)
