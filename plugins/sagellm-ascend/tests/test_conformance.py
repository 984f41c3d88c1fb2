"""The contract's suite. Without an NPU it looks at made machines, and skips what computes."""

from __future__ import annotations

from pathlib import Path

from sagellm_torch.testing.machine import make, pci

from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *  # noqa: F403

_MACHINE = {
    **pci("0000:c1:00.0", 0x19E5, 0x1200),
    "dev/davinci0": "",
    "dev/davinci_manager": "",
    "dev/devmm_svm": "",
    "dev/hisi_hdc": "",
    "usr/local/Ascend/driver/version.info": "Version=25.0.rc1\n",
}
_CANN = {
    "usr/local/Ascend/cann/aarch64-linux/ascend_toolkit_install.info": "version=8.5.0\n",
    "usr/local/Ascend/cann/set_env.sh": "",
}


def _bare(root: Path) -> None:
    make(root, _MACHINE)


def _with_cann(root: Path) -> None:
    make(root, {**_MACHINE, **_CANN})


def _container(root: Path) -> None:
    make(root, {".dockerenv": "", **_MACHINE})


DECLARATION = Declaration(
    plugin="ascend",
    capabilities={"generate", "logprobs", "embed"},
    device_required=False,
    visibility=("ASCEND_RT_VISIBLE_DEVICES",),
    trees={"bare": _bare, "CANN": _with_cann, "container": _container},
)
