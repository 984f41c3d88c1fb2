"""Starting torch_npu where it is missing, broken, or finds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import sys
from sagellm_ascend.runtime import start
from sagellm_core.contract import DeviceUnavailableError
assert "torch" not in sys.modules
try:
    start("npu:0")
except DeviceUnavailableError as error:
    cause = error.__cause__
    print(error.message, error.hint, repr(cause), sep="\\n")
"""


def _start(site: Path | None, module: str | None = None) -> list[str]:
    """What a process says that has a ``torch_npu`` of this text."""
    env = dict(os.environ)
    if site is not None and module is not None:
        (site / "torch_npu").mkdir()
        (site / "torch_npu/__init__.py").write_text(module)
        env["PYTHONPATH"] = str(site)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_torch_npu_is_missing() -> None:
    message, hint, cause = _start(None)
    assert message == "torch_npu is not installed."
    assert "pip install 'sagellm-ascend[npu]'" in hint
    assert cause.startswith("ModuleNotFoundError")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            "ImportError('libhccl.so: cannot open shared object file: No such file')",
            "libhccl.so: cannot open shared object file: No such file",
        ),
        (
            "Exception('ASCEND_OPP_PATH environment variable is not set.\\nERR00001')",
            "ASCEND_OPP_PATH environment variable is not set",
        ),
        (
            "RuntimeError('Two accelerators cannot be used at the same time')",
            "Two accelerators cannot be used at the same time",
        ),
    ],
)
def test_torch_npu_cannot_be_loaded(error, said, tmp_path) -> None:
    message, hint, cause = _start(tmp_path, f"raise {error}")
    assert message == f"torch_npu could not be loaded: {said}."
    assert "sagellm doctor" in hint
    assert said[:20] in cause


def test_torch_npu_finds_nothing(tmp_path) -> None:
    module = """
import types
import torch
torch.npu = types.SimpleNamespace(is_available=lambda: False)
"""
    message, hint, cause = _start(tmp_path, module)
    assert message == "torch_npu finds no npu:0: it sees 0 NPUs."
    assert "npu-smi info" in hint
    assert cause == "None"


def test_torch_npu_is_too_old(tmp_path) -> None:
    module = """
import types
import torch
torch.npu = types.SimpleNamespace(is_available=lambda: True, device_count=lambda: 1)
"""
    message, hint, _ = _start(tmp_path, module)
    assert message.startswith("The installed torch_npu has no npu_add_rms_norm, npu_fused_infer")
    assert "2.7.1" in hint


def test_the_npu_cannot_be_opened(tmp_path) -> None:
    module = """
import types
import torch
def set_device(device):
    raise RuntimeError("Initialize:torch_npu/csrc/core, error code is 507033\\nERR02001")
torch.npu = types.SimpleNamespace(
    is_available=lambda: True, device_count=lambda: 1, set_device=set_device
)
library = torch.library.Library("npu", "DEF")
for name in ("add_rms_norm", "fused_infer_attention_score", "rms_norm", "rotary_mul",
             "scatter_pa_kv_cache", "swiglu"):
    library.define(f"npu_{name}(Tensor input) -> Tensor")
"""
    message, hint, cause = _start(tmp_path, module)
    assert message.startswith("npu:0 could not be opened: Initialize:torch_npu/csrc/core")
    assert "npu-smi info" in hint
    assert "507033" in cause
