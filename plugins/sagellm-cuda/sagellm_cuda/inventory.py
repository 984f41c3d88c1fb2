"""The machine's GPUs: what files, device nodes and NVML say of them, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sagellm_torch.hardware import AccessCheck, PCIDevice, in_container, pci_devices
from sagellm_torch.hardware.pci import address_order

from . import driver_files, obstacles, wsl
from .gpu import GPU
from .nvml import NVMLReport

_VENDOR = 0x10DE
_DISPLAY = 0x03


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What is there, before anybody hides some of it."""

    #: GPUs that the driver serves, by PCI address; with a problem where they cannot be used.
    gpus: tuple[GPU, ...] = ()
    #: NVIDIA's GPUs on the bus that its driver does not serve.
    unserved: tuple[PCIDevice, ...] = ()
    #: Display devices of other vendors.
    others: tuple[PCIDevice, ...] = ()
    #: Version of the driver; empty where it is not told.
    driver: str = ""
    #: Whether there is a driver at all.
    has_driver: bool = False
    container: bool = False
    wsl: bool = False


def take(env: Mapping[str, str], root: Path, nvml: NVMLReport, access: AccessCheck) -> Inventory:
    """Look at everything below ``root``."""
    displays = [device for device in pci_devices(root) if device.base_class == _DISPLAY]
    ours = [device for device in displays if device.vendor == _VENDOR]
    others = tuple(device for device in displays if device.vendor != _VENDOR)
    container = in_container(env, root)
    if wsl.is_wsl(root):
        gpus = wsl.lent_gpus(env, root, nvml, access, container=container)
        return Inventory(
            gpus=gpus,
            others=others,
            driver=nvml.driver,
            has_driver=bool(gpus),
            container=container,
            wsl=True,
        )
    module = driver_files.driver_version(root)
    nodes = driver_files.node_numbers(root)
    has_driver = module is not None or bool(nodes) or bool(nvml.gpus)
    if not ours and driver_files.is_tegra(root):
        return Inventory(
            gpus=nvml.gpus or (GPU(name="NVIDIA Tegra"),),
            driver=nvml.driver or module or "",
            has_driver=True,
            container=container,
        )
    gpus = merge(driver_files.listed_gpus(root), nvml)
    if not gpus and has_driver:
        gpus = _from_nodes(nodes, ours)
    served = {gpu.address for gpu in gpus}
    return Inventory(
        gpus=obstacles.mark(gpus, nvml, env, root, access, container=container),
        # sysfs is not a container's own: it shows the host's, which is nobody's business here.
        unserved=()
        if container and has_driver
        else tuple(device for device in ours if device.address not in served),
        others=others,
        driver=nvml.driver or module or "",
        has_driver=has_driver,
        container=container,
    )


def merge(listed: Sequence[GPU], nvml: NVMLReport) -> tuple[GPU, ...]:
    """GPUs by the driver's files and by NVML, each once; NVML knows more of one."""
    by_address = {gpu.address: gpu for gpu in listed}
    known = [gpu for gpu in nvml.gpus if gpu.address or gpu.uuid]
    merged = []
    for gpu in known:
        file = by_address.pop(gpu.address, None)
        if file is not None:
            gpu = replace(
                gpu,
                uuid=gpu.uuid or file.uuid,
                name=gpu.name or file.name,
                minor=file.minor if gpu.minor is None else gpu.minor,
                problem=gpu.problem or file.problem,
            )
        merged.append(gpu)
    # A lost one has no name in NVML: it is the one that NVML does not know any more.
    lost = [gpu.problem for gpu in nvml.gpus if not gpu.address and not gpu.uuid]
    # What NVML refuses was given to others, and CUDA does not count it for us.
    rest = [] if nvml.refused else list(by_address.values())
    if len(lost) == len(rest):
        rest = [replace(gpu, problem=why) for gpu, why in zip(rest, lost, strict=True)]
    return tuple(sorted(merged + rest, key=lambda gpu: address_order(gpu.address)))


def _from_nodes(nodes: Sequence[int], ours: Sequence[PCIDevice]) -> tuple[GPU, ...]:
    """GPUs of which there is nothing but ``/dev/nvidia0`` and its like."""
    alone = ours[0].address if len(ours) == len(nodes) == 1 else ""
    return tuple(GPU(name="NVIDIA GPU", address=alone, minor=number) for number in nodes)
