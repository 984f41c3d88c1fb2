"""The provider. Nothing here imports torch before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sagellm_core.contract import (
    Capability,
    DeviceClass,
    DeviceInfo,
    Embedder,
    EmbedderConfig,
    Finding,
    LoadAnswer,
    LoadedModel,
    LoadOptions,
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
        contract="1.0",
        capabilities=_CAPABILITIES,
        description="Huawei Ascend NPUs, through torch_npu and CANN",
    )


@hookimpl
def sagellm_detect_devices(env: Mapping[str, str], root: Path) -> Sequence[DeviceInfo]:
    """The NPUs that this process sees."""
    from .detection import detect

    return detect(env, root)


@hookimpl
def sagellm_can_load(model: ModelDescription, device: DeviceInfo) -> LoadAnswer:
    """Whether the kit covers the model, and what it can be opened for."""
    from sagellm_torch.load_answer import load_answer

    from .footprint import bytes_needed

    return load_answer(model, _CAPABILITIES, bytes_needed)


@hookimpl
def sagellm_load_model(
    model: ModelDescription, device: DeviceInfo, options: LoadOptions
) -> LoadedModel:
    """Load the weights.

    :raises DeviceUnavailableError: torch_npu or CANN cannot be loaded; the root cause is kept.
    """
    # First, because torch itself cannot be imported where torch_npu is and CANN is not.
    from .runtime import start

    runtime = start(device.id)
    from sagellm_torch import load_model

    from .adapter import NPUAdapter

    exact = options.capability == Capability.EMBED
    adapter = NPUAdapter(device.id, runtime, options.provider_options, exact=exact)
    return load_model(model, adapter, options)


@hookimpl
def sagellm_open_runner(model: LoadedModel, config: RunnerConfig) -> Runner:
    """A runner over the loaded model, with blocks that the NPU's attention can read."""
    from sagellm_torch import TorchModel, open_runner

    from .fused_attention import BLOCK_SIZE, fits_blocks

    assert isinstance(model, TorchModel), "core hands back what sagellm_load_model returned"
    if not fits_blocks(config.block_size):
        config = replace(config, block_size=BLOCK_SIZE)
    return open_runner(model, config)


@hookimpl
def sagellm_open_embedder(model: LoadedModel, config: EmbedderConfig) -> Embedder:
    """An embedder over the loaded model."""
    from sagellm_torch import TorchModel, open_embedder

    assert isinstance(model, TorchModel), "core hands back what sagellm_load_model returned"
    return open_embedder(model, config)


@hookimpl
def sagellm_diagnose(device: DeviceInfo) -> Sequence[Finding]:
    """Driver, CANN, torch_npu and torch, and whether they belong together."""
    import os

    from .diagnosis import findings

    return findings(device, os.environ, Path("/"))
