"""Which DCUs HIP would show to torch here, and why not the others. Starts no process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sagellm_torch.hardware import (
    AccessCheck,
    PCIDevice,
    Problem,
    in_container,
    may_open,
    pci_devices,
)
from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import DeviceInfo, DeviceState

from . import topology
from .fitness import build_problem
from .topology import AMD, DCU, HYGON
from .visibility import visible

#: The id of the entry that says there is nothing.
_NOTHING = "dcu"
COMPUTE_NODE = "dev/kfd"
#: PCI classes of DCUs: display controller and co-processor. Hygon's processors have devices of
#: the same vendor on the bus, of other classes.
_KINDS = frozenset({0x0380, 0x0B40})
GIVE = (
    "Start the container with --device /dev/kfd --device /dev/mkfd --device /dev/dri "
    "-v /opt/hyhal:/opt/hyhal:ro."
)
_JOIN = "Let this user read and write it; often the group video or render may."
_DRIVER = "Install Hygon's driver, or load it: sudo modprobe hycu."


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All that detection goes by."""

    env: Mapping[str, str]
    #: ``/``, or a made tree.
    root: Path
    #: The torch that would be imported; ``None`` where there is none.
    torch: TorchBuild | None
    access: AccessCheck = may_open


def detect(here: Surroundings) -> list[DeviceInfo]:
    """Every DCU: those that torch would number first, in its order, then others.

    A DCU that torch will see is ``dcu:N``, where torch says ``cuda:N``; one that it will not see
    has no number and is named by its address.
    """
    listed = topology.accelerators(here.root)
    ours = [device for device in listed if device.vendor == HYGON]
    unserved = _unserved(ours, here)
    if not ours and not unserved:
        return [_absent(_nowhere(listed, here))]
    reachable = _reachable(ours, here)
    ready = [device for device in reachable if device.problem is None]
    counted = ready or reachable
    seen = visible(counted, here.env)
    if seen.hidden is not None and seen.deliberate:
        return [_absent(seen.hidden.reason, seen.hidden.hint)]
    if seen.hidden is not None and counted:
        return [_entry(_NOTHING, None, seen.hidden, here)]
    wrong = build_problem(here.torch)
    devices = [
        _entry(f"dcu:{number}", device, device.problem or wrong, here)
        for number, device in enumerate(seen.devices)
    ]
    if ready:
        devices += [
            _entry(f"dcu@{device.address}", device, device.problem, here)
            for device in reachable
            if device.problem is not None
        ]
    return devices + unserved


def _reachable(ours: Sequence[DCU], here: Surroundings) -> list[DCU]:
    """DCUs, each with what keeps this process from it.

    One without a render node, while another has one, was not given to this container: it is
    left out, and takes no number.
    """
    everywhere = _shared_problem(here)
    if everywhere is not None:
        return [replace(device, problem=everywhere) for device in ours]
    problems = {device: _own_problem(device, here) for device in ours}
    given = [device for device in ours if device.render is None or _render(device, here).exists()]
    return [replace(device, problem=problems[device]) for device in given or ours]


def _shared_problem(here: Surroundings) -> Problem | None:
    node = here.root / COMPUTE_NODE
    if not node.exists():
        if in_container(here.env, here.root):
            return Problem(f"the container has no /{COMPUTE_NODE}", GIVE)
        return Problem(f"there is no /{COMPUTE_NODE}", _DRIVER)
    if not here.access(node):
        return Problem(f"this user may not open /{COMPUTE_NODE}", _JOIN)
    return None


def _own_problem(device: DCU, here: Surroundings) -> Problem | None:
    if device.render is None:
        return None
    node = _render(device, here)
    name = f"/dev/dri/{node.name}"
    if not node.exists():
        if in_container(here.env, here.root):
            return Problem(f"the container has no {name}", GIVE)
        return Problem(f"there is no {name}", _DRIVER)
    return None if here.access(node) else Problem(f"this user may not open {name}", _JOIN)


def _render(device: DCU, here: Surroundings) -> Path:
    return here.root / f"dev/dri/renderD{device.render}"


def _unserved(ours: Sequence[DCU], here: Surroundings) -> list[DeviceInfo]:
    """DCUs on the bus that the compute driver does not list."""
    container = in_container(here.env, here.root)
    if container and ours:
        return []  # sysfs shows the host's bus; what was not given to us is nobody's business
    known = {device.address for device in ours}
    return [
        DeviceInfo(
            id=f"dcu@{device.address}",
            # One that was given to a virtual machine is here no more.
            state=DeviceState.ABSENT
            if device.driver == "vfio-pci"
            else DeviceState.PRESENT_UNUSABLE,
            name="Hygon DCU",
            reason=problem.reason,
            hint=problem.hint,
            driver=topology.driver_version(here.root),
            physical_id=device.address,
        )
        for device in pci_devices(here.root)
        if device.vendor == HYGON and device.kind in _KINDS and device.address not in known
        for problem in (_not_listed(device, here, container=container),)
    ]


def _not_listed(device: PCIDevice, here: Surroundings, *, container: bool) -> Problem:
    if device.driver == "vfio-pci":
        return Problem("it was given to a virtual machine (driver vfio-pci)")
    if container:
        return Problem("the container was given no DCU, or the host has no driver for it", GIVE)
    if not topology.has_driver(here.root):
        return Problem("Hygon's driver is not loaded", _DRIVER)
    return Problem(
        "Hygon's driver is loaded and does not list it in /sys/class/kfd",
        "The kernel's log says why (dmesg).",
    )


def _entry(
    name: str, device: DCU | None, problem: Problem | None, here: Surroundings
) -> DeviceInfo:
    return DeviceInfo(
        id=name,
        state=DeviceState.USABLE if problem is None else DeviceState.PRESENT_UNUSABLE,
        name=device.name if device else "",
        reason=problem.reason if problem else "",
        hint=problem.hint if problem else "",
        memory_total=device.memory_total if device else None,
        memory_free=device.memory_free if device else None,
        driver=topology.driver_version(here.root),
        physical_id=(device.address or device.uuid) if device else "",
    )


def _absent(reason: str, hint: str = "") -> DeviceInfo:
    return DeviceInfo(id=_NOTHING, state=DeviceState.ABSENT, reason=reason, hint=hint)


def _nowhere(listed: Sequence[DCU], here: Surroundings) -> str:
    makers = dict.fromkeys(device.vendor for device in listed)
    if makers:
        names = ", ".join("AMD" if each == AMD else f"PCI vendor {each:#06x}" for each in makers)
        return f"the accelerators in /sys/class/kfd are of {names}, and DCUs are Hygon's"
    if topology.has_topology(here.root):
        return "no node in /sys/class/kfd is an accelerator"
    return "there is no /sys/class/kfd and no DCU on the PCI bus (vendor 0x1d94)"
