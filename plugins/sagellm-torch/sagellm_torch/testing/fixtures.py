"""pytest fixtures around the simulated device. Import those that you want into your conftest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import invalidate_caches
from pathlib import Path

import pytest

from .backend import sim_device
from .device import SimDevice
from .installation import install_plugin

__all__ = ["sim", "sim_provider"]


@pytest.fixture
def sim() -> Iterator[SimDevice]:
    """The simulated device, with its defaults; they come back after the test."""
    device = sim_device()
    device.reset()
    yield device
    device.reset()


@pytest.fixture
def sim_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installs the provider ``sim`` for the test and the processes that it starts.

    :returns: the directory on the path.
    """
    site = tmp_path / "sim-provider"
    install_plugin(site)
    monkeypatch.syspath_prepend(site)
    others = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{others}" if others else str(site))
    invalidate_caches()
    return site
