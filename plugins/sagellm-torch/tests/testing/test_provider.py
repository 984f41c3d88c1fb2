"""The provider ``sim``: what it answers, its options, and how it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sagellm_torch.testing import SimAdapter, install_plugin
from sagellm_torch.testing import sim as plugin
from sagellm_torch.testing.__main__ import main

from sagellm_core.contract import (
    ConfigurationError,
    DeviceClass,
    DeviceLostError,
    DeviceOutOfMemoryError,
    DeviceState,
    EmbedderConfig,
    InsufficientMemoryError,
    LoadOptions,
    LoadVerdict,
    ModelDescription,
    ModelFormat,
    RunnerConfig,
)
from sagellm_core.models import describe


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (None, DeviceState.USABLE),
        ("0", DeviceState.USABLE),
        (" 0,7", DeviceState.USABLE),
        ("", DeviceState.ABSENT),
        (" ", DeviceState.ABSENT),
        ("-1", DeviceState.ABSENT),
        ("1", DeviceState.ABSENT),
        ("1,0", DeviceState.ABSENT),
        ("NoDevice", DeviceState.ABSENT),
    ],
)
def test_visibility(value, state) -> None:
    env = {} if value is None else {"SIM_VISIBLE_DEVICES": value}
    (device,) = plugin.sagellm_detect_devices(env)
    assert (device.id, device.state) == ("sim:0", state)
    assert ("SIM_VISIBLE_DEVICES" in device.reason) == (state is DeviceState.ABSENT)
    assert plugin.sagellm_detect_devices(env) == [device]


def test_who_it_is() -> None:
    info = plugin.sagellm_plugin_info()
    assert info.name == "sim"
    assert info.device_class is DeviceClass.SIMULATED


def test_what_it_can_load(tiny_model, encoder_path) -> None:
    llama = plugin.sagellm_can_load(describe(tiny_model("llama").path))
    assert llama.verdict is LoadVerdict.YES
    assert llama.bytes_needed > 2 * 199 * 64 * 4
    bert = plugin.sagellm_can_load(describe(encoder_path("bert")))
    assert bert.capabilities == frozenset({"embed"})
    unresolved = ModelDescription(reference="nothing", format=ModelFormat.UNRESOLVED)
    assert plugin.sagellm_can_load(unresolved).verdict is LoadVerdict.NO


@pytest.fixture
def loaded(sim, tiny_model):
    """Load through the hooks, by provider options."""
    (device,) = plugin.sagellm_detect_devices({})

    def load(**options: Any):
        settings = LoadOptions(dtype="float32", provider_options=options)
        return plugin.sagellm_load_model(describe(tiny_model("llama").path), device, settings)

    return load


def test_the_hooks_open_a_runner_and_an_embedder(loaded) -> None:
    model = loaded()
    runner = plugin.sagellm_open_runner(model, RunnerConfig(max_slots=1, max_model_len=64))
    assert runner.queues_ahead
    runner.close()
    embedder = plugin.sagellm_open_embedder(model, EmbedderConfig())
    assert embedder.embed([[3, 4]], normalize=True).shape == (1, 64)
    embedder.close()
    model.close()


def test_options_are_the_devices_settings(sim, loaded) -> None:
    loaded(
        memory=10_000_000,
        forbid_dtypes=["bfloat16"],
        forbid_operators="nonzero, item",
        dirty_memory=False,
    ).close()
    assert sim.memory.total == 10_000_000
    assert sim.forbidden_dtypes == {torch.bfloat16}
    assert sim.forbidden_operators == {"nonzero", "item"}
    assert not sim.dirty_memory
    with pytest.raises(InsufficientMemoryError):
        loaded(memory=100_000)


@pytest.mark.parametrize(
    ("kind", "at", "error"),
    [
        ("out_of_memory", None, DeviceOutOfMemoryError),
        ("device_lost", "copy_to_host", DeviceLostError),
    ],
)
def test_a_fault_waits_until_the_model_is_loaded(loaded, kind, at, error) -> None:
    where = {} if at is None else {"fail_at": at}
    model = loaded(fail_with=kind, fail_after=0, **where)
    embedder = plugin.sagellm_open_embedder(model, EmbedderConfig())
    with pytest.raises(error):
        embedder.embed([[3, 4]], normalize=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memori": 1}, "Did you mean 'memory'"),
        ({"memory": -1}, "memory=-1"),
        ({"memory": True}, "memory=True"),
        ({"memory": "1 GiB"}, "memory='1 GiB'"),
        ({"forbid_dtypes": ["float63"]}, "no type 'float63'"),
        ({"forbid_operators": ["nonzeros"]}, "Did you mean 'nonzero'"),
        ({"forbid_operators": 3}, "forbid_operators=3"),
        ({"dirty_memory": 1}, "dirty_memory=1"),
        ({"fail_with": "fire"}, "fail_with='fire'"),
        ({"fail_after": 3}, "fail_after says when, and nothing is to fail"),
        ({"fail_with": "error", "fail_after": -1}, "fail_after=-1"),
        ({"fail_with": "error", "fail_at": "mmm"}, "no operator 'mmm'"),
    ],
)
def test_options_that_cannot_be(sim, options, words) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        SimAdapter(options=options)
    assert caught.value.hint
    assert sim.memory.total == 2**30


def _sagellm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sagellm_core.cli", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_it_runs_on_the_command_line(sim_provider, tiny_model) -> None:
    listed = json.loads(_sagellm("plugins", "list", "--json").stdout)
    (found,) = [each for each in listed if each["name"] == "sim"]
    assert (found["dist"], found["status"]) == ("sagellm-sim", "ok")
    path = tiny_model("llama").path
    explained = _sagellm("plugins", "why", "--backend", "sim", "--model", path)
    assert "sim on sim:0 was asked for by name." in explained.stdout, explained.stderr
    chosen = _sagellm("plugins", "why", "--model", path)
    assert "Ask for the backend 'sim' by name to use it." in chosen.stdout, chosen.stderr
    assert "sim on sim:0" not in chosen.stdout


def test_installing(tmp_path, capsys) -> None:
    written = install_plugin(tmp_path, name="orbit", module="orbit.plugin")
    assert written.name.startswith("sagellm_orbit-")
    assert "orbit = orbit.plugin" in (written / "entry_points.txt").read_text()
    metadata = (written / "METADATA").read_text()
    assert "Name: sagellm-orbit" in metadata
    assert "Requires-Dist: sagellm-core" in metadata
    with pytest.raises(ConfigurationError, match="is there already"):
        install_plugin(tmp_path, name="orbit", module="orbit.plugin")
    assert main([str(tmp_path / "site")]) == 0
    assert "PYTHONPATH=" in capsys.readouterr().out
    assert main([str(tmp_path / "site")]) == 1
    assert "is there already" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file")]) == 1
