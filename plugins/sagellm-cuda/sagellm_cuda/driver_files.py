"""What NVIDIA's driver shows of itself in files: procfs, device nodes, its CUDA library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sagellm_torch.hardware import Problem, read_fields, read_text
from sagellm_torch.hardware.pci import address_order

from .gpu import GPU

_PROC = "proc/driver/nvidia"
CONTROL_NODE = "dev/nvidiactl"
#: Unified memory, without which CUDA does not start.
UVM_NODE = "dev/nvidia-uvm"
#: The paravirtual GPU of Windows Subsystem for Linux, of any vendor.
WINDOWS_NODE = "dev/dxg"
_TEGRA_NODE = "dev/nvmap"
#: The driver's own helper, which loads modules and makes nodes when CUDA starts.
_NODE_MAKER = "usr/bin/nvidia-modprobe"
#: "NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu ...", and the open module's
#: "NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build ...".
_VERSION = re.compile(r"\s(\d{3,}\.\d+(?:\.\d+)*)\s")
_NODE = re.compile(r"nvidia(\d+)")

CUDA_LIBRARY = "libcuda.so.1"
#: Where the loader looks without being told; and NixOS, whose programs look there.
_LIBRARY_FOLDERS = ("lib", "lib64", "usr/lib", "usr/lib64", "run/opengl-driver/lib")
_LIBRARY_PATTERNS = ("lib/*-linux-gnu", "usr/lib/*-linux-gnu")


def driver_version(root: Path) -> str | None:
    """Of the loaded kernel module, as ``535.129.03``; ``""`` when it does not say, ``None``
    when none is loaded, or /proc does not show it."""
    text = read_text(root / _PROC / "version")
    if text is None:
        return None
    found = _VERSION.search(text.partition("\n")[0] + " ")
    return found[1] if found else ""


def listed_gpus(root: Path) -> tuple[GPU, ...]:
    """Those that the module drives, from ``/proc/driver/nvidia/gpus``, by PCI address."""
    try:
        places = list((root / _PROC / "gpus").iterdir())
    except OSError:
        return ()
    found = [_read(place) for place in places]
    return tuple(sorted(found, key=lambda gpu: address_order(gpu.address)))


def _read(place: Path) -> GPU:
    fields = read_fields(place / "information", ":")
    uuid, minor = fields.get("GPU UUID", ""), fields.get("Device Minor", "")
    problem = None
    if fields.get("GPU Excluded", "").lower() == "yes":
        problem = Problem(
            "the driver was told to leave it alone (GPU Excluded: Yes)",
            "Take it out of the module's option NVreg_ExcludedGpus.",
        )
    return GPU(
        address=(fields.get("Bus Location") or place.name).lower(),
        # The module writes question marks until something has used the GPU.
        uuid="" if "?" in uuid else uuid,
        name=fields.get("Model", ""),
        minor=int(minor) if minor.isascii() and minor.isdigit() else None,
        problem=problem,
    )


def leaves_traces(root: Path) -> bool:
    """Whether anything is there that a driver would have left, of any kind of machine."""
    places = (CONTROL_NODE, _PROC, WINDOWS_NODE, _TEGRA_NODE)
    return any((root / place).exists() for place in places) or bool(node_numbers(root))


def node_numbers(root: Path) -> tuple[int, ...]:
    """Of ``/dev/nvidia0`` and its like."""
    try:
        names = [node.name for node in (root / "dev").iterdir()]
    except OSError:
        return ()
    found = [match for match in map(_NODE.fullmatch, names) if match]
    return tuple(sorted(int(match[1]) for match in found))


def makes_nodes(root: Path) -> bool:
    """Whether missing device nodes appear by themselves once CUDA starts."""
    return (root / _NODE_MAKER).exists()


def has_cuda_library(env: Mapping[str, str], root: Path) -> bool:
    """Whether the dynamic loader would find the driver's CUDA library.

    It looks in ``LD_LIBRARY_PATH``, in its cache, and in its own folders (ld.so(8)).
    """
    if any((folder / CUDA_LIBRARY).exists() for folder in _library_folders(env, root)):
        return True
    try:
        return f"{CUDA_LIBRARY}\0".encode() in (root / "etc/ld.so.cache").read_bytes()
    except OSError:
        return False


def has_compatibility_library(env: Mapping[str, str], root: Path) -> bool:
    """Whether a CUDA library for older kernel modules (``cuda-compat``) is about."""
    folders = [folder for folder in _library_folders(env, root) if "compat" in folder.name]
    folders += (root / "usr/local").glob("cuda*/compat")
    return any((folder / CUDA_LIBRARY).exists() for folder in folders)


def _library_folders(env: Mapping[str, str], root: Path) -> Iterator[Path]:
    for name in env.get("LD_LIBRARY_PATH", "").split(":"):
        if name:
            yield root / name.lstrip("/")
    yield from (root / name for name in _LIBRARY_FOLDERS)
    for pattern in _LIBRARY_PATTERNS:
        yield from root.glob(pattern)


def is_tegra(root: Path) -> bool:
    """Whether this is a Jetson with an integrated GPU, which is on no bus and in no listing."""
    compatible = read_text(root / "proc/device-tree/compatible") or ""
    return "nvidia,tegra" in compatible and (root / _TEGRA_NODE).exists()
