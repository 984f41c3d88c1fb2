"""The hooks, and what they cost."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pluggy
import pytest
from sagellm_mock import plugin

from sagellm_core.contract import (
    CONTRACT_VERSION,
    Capability,
    ConfigurationError,
    DeviceClass,
    DeviceState,
    LoadedModel,
    LoadVerdict,
    ModelDescription,
    ModelFormat,
    RunnerConfig,
    hookspecs,
)


@pytest.fixture
def hooks() -> Any:
    manager = pluggy.PluginManager("sagellm")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()
    return manager.hook


def test_it_is_registered_under_its_name() -> None:
    (found,) = [entry for entry in entry_points(group="sagellm.plugins.v1") if entry.name == "mock"]
    assert found.value == "sagellm_mock.plugin"


def test_it_says_what_it_is(hooks: Any) -> None:
    info = hooks.sagellm_plugin_info()
    assert info.name == "mock"
    assert info.device_class is DeviceClass.SIMULATED
    assert info.contract == CONTRACT_VERSION
    assert info.capabilities == {
        Capability.GENERATE,
        Capability.EMBED,
        Capability.LOGPROBS,
        Capability.ANY_MODEL,
    }


def test_it_runs_anything_anywhere(hooks: Any) -> None:
    (device,) = hooks.sagellm_detect_devices(env={}, root=Path("/nowhere"))
    assert device.state is DeviceState.USABLE
    model = ModelDescription(reference="org/name", format=ModelFormat.UNRESOLVED)
    assert hooks.sagellm_can_load(model=model, device=device).verdict is LoadVerdict.YES


def test_a_loaded_model(load_model: Any) -> None:
    model = load_model("Qwen/Qwen2.5-7B-Instruct")
    assert isinstance(model, LoadedModel)
    assert model.description.reference == "Qwen/Qwen2.5-7B-Instruct"
    assert model.description.vocab_size == model.tokenizer.vocab_size
    assert model.notes
    model.close()
    model.close()


def test_another_providers_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="object"):
        plugin.sagellm_open_runner(object(), RunnerConfig(max_slots=1, max_model_len=8))  # type: ignore[arg-type]


def test_probing_imports_nothing_heavy() -> None:
    code = """
import sys
from pathlib import Path
from sagellm_mock import plugin
plugin.sagellm_plugin_info(), plugin.sagellm_detect_devices(), plugin.sagellm_can_load()
print(*sorted(name.partition(".")[0] for name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "transformers", "pydantic", "yaml", "numpy", "asyncio"}
