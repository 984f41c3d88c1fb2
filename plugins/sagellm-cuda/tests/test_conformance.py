"""The contract's suite. Without a GPU it looks at made machines, and skips what computes."""

from __future__ import annotations

from pathlib import Path

from sagellm_torch.testing.machine import make

from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *  # noqa: F403

_UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
_MACHINE = {
    "proc/driver/nvidia/version": "NVRM version: Module  580.65.06  Release Build\n",
    "proc/driver/nvidia/gpus/0000:3b:00.0/information": (
        f"Model: NVIDIA L4\nGPU UUID: {_UUID}\nBus Location: 0000:3b:00.0\nDevice Minor: 0\n"
    ),
    "dev/nvidiactl": "",
    "dev/nvidia-uvm": "",
    "dev/nvidia0": "",
    "usr/lib64/libcuda.so.1": "",
}
_WINDOWS = {"dev/dxg": "", "usr/lib/wsl/lib/libcuda.so.1": ""}


def _bare(root: Path) -> None:
    make(root, _MACHINE)


def _container(root: Path) -> None:
    make(root, {".dockerenv": "", **_MACHINE})


def _windows(root: Path) -> None:
    make(root, _WINDOWS)


DECLARATION = Declaration(
    plugin="cuda",
    capabilities={"generate", "logprobs", "embed"},
    device_required=False,
    visibility=("CUDA_VISIBLE_DEVICES",),
    trees={"bare": _bare, "container": _container, "windows": _windows},
)
