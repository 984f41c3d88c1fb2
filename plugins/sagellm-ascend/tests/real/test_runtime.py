"""torch_npu as it is found, imported and refused, where there is no NPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from sagellm_ascend import faults, plugin
from sagellm_ascend.packages import installed_torch_npu, packages_problem
from sagellm_ascend.runtime import NPURuntime, start

from sagellm_core.contract import (
    DeviceInfo,
    DeviceState,
    DeviceUnavailableError,
    LoadOptions,
    ModelDescription,
    ModelFormat,
)


def test_the_packages_belong_together(torch_npu) -> None:
    assert installed_torch_npu() == torch_npu.__version__
    assert packages_problem() is None


def test_without_an_npu_loading_says_so(torch_npu) -> None:
    model = ModelDescription(reference="any", format=ModelFormat.UNRESOLVED)
    device = DeviceInfo(id="npu:0", state=DeviceState.USABLE)
    with pytest.raises(DeviceUnavailableError, match="finds no npu:0: it sees 0 NPUs"):
        plugin.sagellm_load_model(model, device, LoadOptions())


def test_what_the_runtime_asks_of_torch_npu_exists(torch_npu) -> None:
    import torch

    used = re.findall(r"(?:self\._npu|torch\.npu)\.(\w+)", Path(_source()).read_text())
    assert {"Event", "device_count", "empty_cache", "mem_get_info", "synchronize"} <= set(used)
    for name in used:
        assert callable(getattr(torch.npu, name)), name
    for name in ("record", "synchronize"):
        assert callable(getattr(torch.npu.Event, name))
    assert callable(start)


def _source() -> str:
    return sys.modules[NPURuntime.__module__].__file__ or ""


def test_error_codes_are_those_of_the_header(torch_npu) -> None:
    folder = Path(str(distribution("torch-npu").locate_file("torch_npu")))
    header = next(folder.glob("include/**/acl/error_codes/rt_error_codes.h")).read_text()
    theirs = {
        int(number): name for name, number in re.findall(r"ACL_ERROR_RT_(\w+)\s+(\d+)", header)
    }
    assert {code: theirs.get(code) for code in faults._CODES} == faults._CODES


@pytest.mark.parametrize("autoload", ["1", "0"])
def test_without_cann_loading_says_so(autoload, torch_npu) -> None:
    script = """
from sagellm_core.contract import *
from sagellm_ascend import plugin
model = ModelDescription(reference="any", format=ModelFormat.UNRESOLVED)
device = DeviceInfo(id="npu:0", state=DeviceState.USABLE)
try:
    plugin.sagellm_load_model(model, device, LoadOptions())
except DeviceUnavailableError as error:
    print(error.message, "|", error.hint, "|", error.__cause__ is not None)
"""
    env = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    env["TORCH_DEVICE_BACKEND_AUTOLOAD"] = autoload
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    message, hint, caused = done.stdout.strip().split(" | ")
    assert re.match(
        r"torch_npu could not be loaded: lib\w+\.so: cannot open shared object", message
    )
    assert "set_env.sh" in hint
    assert caused == "True"


def test_probing_needs_no_cann(torch_npu) -> None:
    """Every command that lists or chooses works where ``import torch`` would fail."""
    env = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    command = [sys.executable, "-m", "sagellm_core.cli", "doctor", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert "npu is absent" in done.stdout, done.stderr
    assert "importing torch fails in every program here" in done.stdout
