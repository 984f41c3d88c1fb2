"""The contract's suite. Without a DCU it looks at made machines, and skips what computes."""

from __future__ import annotations

from pathlib import Path

from sagellm_torch.testing.machine import make

from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *  # noqa: F403

_MACHINE = {
    "sys/class/kfd/kfd/topology/nodes/1/properties": (
        "simd_count 480\nvendor_id 7572\nlocation_id 1792\ndrm_render_minor 128\n"
    ),
    "sys/module/hycu/version": "6.3.8\n",
    "dev/kfd": "",
    "dev/dri/renderD128": "",
}


def _bare(root: Path) -> None:
    make(root, _MACHINE)


def _container(root: Path) -> None:
    make(root, {".dockerenv": "", **_MACHINE})


DECLARATION = Declaration(
    plugin="dcu",
    capabilities={"generate", "logprobs", "embed"},
    device_required=False,
    visibility=("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    trees={"bare": _bare, "container": _container},
)
