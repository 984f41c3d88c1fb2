"""What keeps CUDA from GPUs that the driver serves: nodes, permissions, libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sagellm_torch.hardware import AccessCheck, Problem

from . import driver_files
from .gpu import GPU
from .nvml import NVMLReport

_GIVE = "Start the container with its GPUs, as in: docker run --gpus all."
_MAKE = "Make the device nodes: sudo nvidia-modprobe -c 0 -u."
_JOIN = "Let this user read and write it; often the group video or render may."


def mark(
    gpus: Sequence[GPU],
    nvml: NVMLReport,
    env: Mapping[str, str],
    root: Path,
    access: AccessCheck,
    *,
    container: bool,
) -> tuple[GPU, ...]:
    """The GPUs, each with what keeps CUDA from it.

    A GPU that has no device node while another has one was not given to this container: it is
    left out, and takes no number in CUDA's counting.
    """
    everywhere = _shared(env, root, access, container=container) or nvml.problem
    if everywhere is not None:
        return tuple(replace(gpu, problem=everywhere) for gpu in gpus)
    nodes = set(driver_files.node_numbers(root))
    given = list(gpus)
    if container or not driver_files.makes_nodes(root):
        given = [gpu for gpu in gpus if gpu.minor is None or gpu.minor in nodes]
    if not given:
        return tuple(replace(gpu, problem=_no_node(gpu, container=container)) for gpu in gpus)
    return tuple(_checked(gpu, root, access, nodes) for gpu in given)


def _shared(
    env: Mapping[str, str], root: Path, access: AccessCheck, *, container: bool
) -> Problem | None:
    """What keeps CUDA from every GPU."""
    for name in (driver_files.CONTROL_NODE, driver_files.UVM_NODE):
        node = root / name
        if node.exists():
            if not access(node):
                return Problem(f"this user may not open /{name}", _JOIN)
        elif container:
            return Problem(f"the container has no /{name}", _GIVE)
        elif not driver_files.makes_nodes(root):
            return Problem(f"there is no /{name}", _MAKE)
    if driver_files.has_cuda_library(env, root):
        return None
    library = driver_files.CUDA_LIBRARY
    if container:
        return Problem(
            f"the container has no {library}",
            "Start it with NVIDIA_DRIVER_CAPABILITIES=compute,utility.",
        )
    return Problem(
        f"the loader finds no {library}",
        "Install the CUDA library of the driver, of the driver's own version.",
    )


def _no_node(gpu: GPU, *, container: bool) -> Problem:
    where = "the container has" if container else "there is"
    return Problem(f"{where} no /dev/nvidia{gpu.minor}", _GIVE if container else _MAKE)


def _checked(gpu: GPU, root: Path, access: AccessCheck, nodes: set[int]) -> GPU:
    problem = gpu.problem
    if gpu.minor in nodes and not access(root / f"dev/nvidia{gpu.minor}"):
        problem = Problem(f"this user may not open /dev/nvidia{gpu.minor}", _JOIN)
    elif problem is None and gpu.mig and not gpu.instances:
        problem = Problem(
            "MIG mode is on, and there is no instance that this process may use",
            "Make one with nvidia-smi mig -cgi PROFILE -C, or turn MIG off.",
        )
    return gpu if problem is gpu.problem else replace(gpu, problem=problem)
