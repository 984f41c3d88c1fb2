"""The provider. Nothing here imports torch before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

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
    LoadVerdict,
    ModelDescription,
    PluginInfo,
    Runner,
    RunnerConfig,
    hookimpl,
)

_CAPABILITIES = frozenset({Capability.GENERATE, Capability.LOGPROBS, Capability.EMBED})


@hookimpl
def sagellm_plugin_info() -> PluginInfo:
    """Say who we are."""
    return PluginInfo(
        name="ascend",
        vendor="Huawei",
        device_class=DeviceClass.ACCELERATOR,
        capabilities=_CAPABILITIES,
        description="Huawei Ascend NPUs, through torch_npu and CANN",
    )


@hookimpl
def sagellm_detect_devices(env: Mapping[str, str], root: Path) -> Sequence[DeviceInfo]:
    """Detection is not written yet."""
    return [DeviceInfo(id="npu", state=DeviceState.ABSENT, reason="Detection is not written yet.")]


@hookimpl
def sagellm_can_load(model: ModelDescription, device: DeviceInfo) -> LoadAnswer:
    """Whether the kit covers the model."""
    return LoadAnswer(verdict=LoadVerdict.NO, reason="Loading is not written yet.")


@hookimpl
def sagellm_load_model(
    model: ModelDescription, device: DeviceInfo, options: LoadOptions
) -> LoadedModel:
    """Load the weights."""
    raise NotImplementedError


@hookimpl
def sagellm_open_runner(model: LoadedModel, config: RunnerConfig) -> Runner:
    """A runner over the loaded model."""
    from sagellm_torch import TorchModel, open_runner

    assert isinstance(model, TorchModel), "core hands back what sagellm_load_model returned"
    return open_runner(model, config)


@hookimpl
def sagellm_open_embedder(model: LoadedModel, config: EmbedderConfig) -> Embedder:
    """An embedder over the loaded model."""
    from sagellm_torch import TorchModel, open_embedder

    assert isinstance(model, TorchModel), "core hands back what sagellm_load_model returned"
    return open_embedder(model, config)
