"""A closer look at a GPU, for ``sagellm doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from sagellm_core.contract import DeviceInfo, DeviceState, Finding, Severity

from . import inventory, order, visibility
from .detection import Surroundings
from .fitness import build_problem, toolkit_version
from .inventory import Inventory


def diagnose(device: DeviceInfo, here: Surroundings) -> list[Finding]:
    """Findings about a device that :func:`~.detection.detect` told of; none where none is."""
    if device.state is DeviceState.ABSENT:
        return []
    found = inventory.take(here.env, here.root, here.nvml, here.access)
    return [
        _driver(found, here),
        _torch(here),
        _triton(),
        *_nvml(found, here),
        *_visibility(found, here),
        *_order(found, here),
        *_instances(found),
    ]


def _driver(found: Inventory, here: Surroundings) -> Finding:
    if not found.has_driver:
        return Finding(
            severity=Severity.ERROR,
            message="Driver: none is loaded.",
            hint="Install NVIDIA's driver.",
        )
    cuda = here.nvml.cuda
    newest = f", runs programs of CUDA {cuda[0]}.{cuda[1]} and older" if cuda else ""
    version = found.driver or "of unknown version"
    return Finding(severity=Severity.OK, message=f"Driver: {version}{newest}.")


def _torch(here: Surroundings) -> Finding:
    problem = build_problem(here.torch)
    if problem is not None:
        reason = problem.reason[0].upper() + problem.reason[1:]
        return Finding(severity=Severity.ERROR, message=f"{reason}.", hint=problem.hint)
    toolkit = toolkit_version(here.torch)
    if toolkit is None:
        return Finding(
            severity=Severity.WARNING,
            message=f"{here.torch} does not say what it was built for.",
            hint="If loading a model fails, install torch's build for CUDA.",
        )
    version = ".".join(map(str, toolkit))
    if here.nvml.cuda is not None and here.nvml.cuda < toolkit[:2]:
        return Finding(
            severity=Severity.OK if here.nvml.cuda[0] == toolkit[0] else Severity.ERROR,
            message=f"{here.torch}, built with CUDA {version}, is newer than the driver.",
            hint="Update the driver: new functions are missing at best.",
        )
    return Finding(severity=Severity.OK, message=f"{here.torch}, built with CUDA {version}.")


def _triton() -> Finding:
    if find_spec("triton") is not None:
        return Finding(severity=Severity.OK, message="Triton: installed.")
    return Finding(
        severity=Severity.WARNING,
        message="Triton: not installed, so torch's own operators compute.",
        hint="Install it: pip install 'sagellm-cuda[triton]'.",
    )


def _nvml(found: Inventory, here: Surroundings) -> Iterator[Finding]:
    if here.nvml.failure:
        yield Finding(
            severity=Severity.WARNING,
            message=f"{here.nvml.failure}: memory, compute capability and MIG are not known.",
            hint=_nvml_hint(found, here),
        )


def _nvml_hint(found: Inventory, here: Surroundings) -> str:
    if "not installed" in here.nvml.failure:
        return "Install it: pip install nvidia-ml-py."
    if "did not answer" in here.nvml.failure:
        return "Turn persistence mode on, so that GPUs need not start anew: nvidia-smi -pm 1."
    if found.container:
        return "Start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility."
    return "nvidia-smi fails for the same reason."


def _visibility(found: Inventory, here: Surroundings) -> Iterator[Finding]:
    value = here.env.get(visibility.VARIABLE)
    if value is None or not found.gpus:
        return
    ready = [gpu for gpu in found.gpus if gpu.problem is None]
    counted = order.counted(ready or found.gpus, here.env)
    seen = visibility.visible(counted, value)
    shown = f"{visibility.VARIABLE}={value!r} shows {len(seen.devices)} of {len(counted)} GPUs"
    if seen.cut_at:
        yield Finding(
            severity=Severity.WARNING,
            message=f"{shown}: it ends at {seen.cut_at!r}, which names none.",
            hint="Everything after that entry is hidden too.",
        )
    else:
        yield Finding(severity=Severity.OK, message=f"{shown}.")


def _order(found: Inventory, here: Surroundings) -> Iterator[Finding]:
    if not order.is_certain(found.gpus, here.env):
        yield Finding(
            severity=Severity.WARNING,
            message="GPUs of several models: CUDA counts the fastest first, by its own rule.",
            hint=f"Set {order.VARIABLE}={order.BY_BUS} to have them counted as nvidia-smi does.",
        )


def _instances(found: Inventory) -> Iterator[Finding]:
    count = sum(len(gpu.instances) for gpu in found.gpus)
    if count > 1:
        yield Finding(
            severity=Severity.OK,
            message=f"MIG: {count} instances; a process sees one of them.",
            hint=f"Name it in {visibility.VARIABLE}: nvidia-smi -L lists them.",
        )
