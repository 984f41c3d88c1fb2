"""Nothing happens before it is asked for, and twice is as good as once."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from sagellm_torch import testing
from sagellm_torch.testing import sim_device


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_needs_no_torch() -> None:
    code = """
import sys
import sagellm_torch.testing, sagellm_torch.testing.sim
import sagellm_torch.testing.installation, sagellm_torch.testing.presence
print(*[name for name in ("torch", "numpy") if name in sys.modules])
"""
    assert _run(code) == ""


def test_importing_registers_nothing() -> None:
    code = """
import torch
from sagellm_torch.testing import SimAdapter, SimDevice, sim_device
import sagellm_torch.testing.execution
try:
    torch.device("sim")
except RuntimeError as error:
    print("unknown")
sim_device()
print(torch.device("sim", 0), torch.zeros(2, device="sim").tolist())
"""
    assert _run(code).split("\n") == ["unknown", "sim:0 [0.0, 0.0]"]


def test_a_process_has_room_for_one_device_of_its_kind() -> None:
    code = """
import torch
torch.utils.rename_privateuse1_backend("other")
from sagellm_torch.testing import sim_device
try:
    sim_device()
except RuntimeError as error:
    print(error)
"""
    assert "has the torch device 'other' already" in _run(code)


def test_there_is_one_device(sim) -> None:
    assert sim_device() is sim
    assert sim.name == str(torch.zeros(1, device="sim").device)


def test_every_public_name_loads() -> None:
    for name in testing.__all__:
        assert getattr(testing, name) is not None
    with pytest.raises(AttributeError):
        _ = testing.nothing
