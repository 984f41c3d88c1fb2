"""Which of torch's devices a detected one is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sagellm_core.contract import DeviceInfo


def torch_name(device: DeviceInfo) -> str:
    """As torch names it: ``cuda:0``. Starts CUDA where there are several GPUs.

    Detection has to guess how CUDA counts GPUs of different models. What was chosen, for its
    memory, is a certain GPU; so that one is looked for by its UUID or PCI address.
    """
    import torch

    count = torch.cuda.device_count()
    if count < 2:
        return device.id
    return match(device, [_identities(index) for index in range(count)])


def match(device: DeviceInfo, identities: Sequence[Sequence[str]]) -> str:
    """The name of the torch device that is ``device``; its id where none is known to be.

    :param identities: what each of torch's devices is known by.
    """
    wanted = _bare(device.physical_id)
    if wanted:
        for index, known in enumerate(identities):
            if wanted in known:
                return f"cuda:{index}"
    return device.id


def _identities(index: int) -> list[str]:
    import torch

    # Which of these there are depends on torch's version.
    properties: Any = torch.cuda.get_device_properties(index)
    known = [_bare(str(getattr(properties, "uuid", "")))]
    if hasattr(properties, "pci_bus_id"):
        domain, bus = properties.pci_domain_id, properties.pci_bus_id
        known.append(f"{domain:04x}:{bus:02x}:{properties.pci_device_id:02x}.0")
    return known


def _bare(identity: str) -> str:
    """NVML writes ``GPU-`` or ``MIG-`` before the UUID, torch does not."""
    return identity.lower().removeprefix("gpu-").removeprefix("mig-")
