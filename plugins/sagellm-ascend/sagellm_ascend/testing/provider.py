"""The provider ``ascend-simulated``: the adapter on the kit's simulated device, for the suite.

Nothing here imports torch before a model is loaded. Install it for a test with
:func:`sagellm_torch.testing.install_plugin`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sagellm_ascend import plugin
from sagellm_core.contract import (
    Capability,
    DeviceClass,
    DeviceInfo,
    DeviceState,
    Embedder,
    EmbedderConfig,
    LoadAnswer,
    LoadedModel,
    LoadOptions,
    ModelDescription,
    PluginInfo,
    Runner,
    RunnerConfig,
    hookimpl,
)

NAME = "ascend-simulated"
_DEVICE = "sim"


@hookimpl
def sagellm_plugin_info() -> PluginInfo:
    """The real one's, but for what computes."""
    return replace(
        plugin.sagellm_plugin_info(),
        name=NAME,
        device_class=DeviceClass.SIMULATED,
        description="the Ascend adapter over plain torch operators, for tests; the CPU computes",
    )


@hookimpl
def sagellm_detect_devices() -> Sequence[DeviceInfo]:
    """One, always."""
    return [DeviceInfo(id=_DEVICE, state=DeviceState.USABLE, name="Simulated NPU")]


@hookimpl
def sagellm_can_load(model: ModelDescription, device: DeviceInfo) -> LoadAnswer:
    """As the real one."""
    return plugin.sagellm_can_load(model, device)


@hookimpl
def sagellm_load_model(
    model: ModelDescription, device: DeviceInfo, options: LoadOptions
) -> LoadedModel:
    """Load the weights onto the simulated device."""
    from sagellm_torch import load_model
    from sagellm_torch.testing import sim_device

    from sagellm_ascend.adapter import NPUAdapter

    from .runtime import StandInRuntime

    sim_device()
    exact = options.capability == Capability.EMBED
    adapter = NPUAdapter(device.id, StandInRuntime(), options.provider_options, exact=exact)
    return load_model(model, adapter, options)


@hookimpl
def sagellm_open_runner(model: LoadedModel, config: RunnerConfig) -> Runner:
    """As the real one."""
    return plugin.sagellm_open_runner(model, config)


@hookimpl
def sagellm_open_embedder(model: LoadedModel, config: EmbedderConfig) -> Embedder:
    """As the real one."""
    return plugin.sagellm_open_embedder(model, config)
