"""The provider ``sim``. Nothing here imports torch before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

from .presence import DEFAULT_MEMORY, DEVICE, VISIBLE_DEVICES, hidden_because

_CAPABILITIES = frozenset({Capability.GENERATE, Capability.LOGPROBS, Capability.EMBED})


@hookimpl
def sagellm_plugin_info() -> PluginInfo:
    """Say who we are."""
    return PluginInfo(
        name="sim",
        vendor="sagellm",
        device_class=DeviceClass.SIMULATED,
        capabilities=_CAPABILITIES,
        description="a torch device in pure Python, for tests; the CPU computes",
    )


@hookimpl
def sagellm_detect_devices(env: Mapping[str, str]) -> Sequence[DeviceInfo]:
    """There is always one, unless a variable hides it."""
    hidden = hidden_because(env)
    if hidden is not None:
        return [
            DeviceInfo(
                id=DEVICE,
                state=DeviceState.ABSENT,
                reason=hidden,
                hint=f"Unset {VISIBLE_DEVICES}, or set it to 0.",
            )
        ]
    return [
        DeviceInfo(
            id=DEVICE,
            state=DeviceState.USABLE,
            name="Simulated torch device",
            memory_total=DEFAULT_MEMORY,
            memory_free=DEFAULT_MEMORY,
            physical_id="simulated:0",
        )
    ]


@hookimpl
def sagellm_can_load(model: ModelDescription) -> LoadAnswer:
    """Whether the kit covers the model."""
    from sagellm_torch.load_answer import load_answer

    return load_answer(model, _CAPABILITIES)


@hookimpl
def sagellm_load_model(
    model: ModelDescription, device: DeviceInfo, options: LoadOptions
) -> LoadedModel:
    """Load the weights; a fault that was asked for waits for that."""
    from sagellm_torch.loading import load_model

    from .adapter import SimAdapter

    adapter = SimAdapter(device.id, options.provider_options)
    loaded = load_model(model, adapter, options)
    adapter.expect_fault()
    return loaded


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
