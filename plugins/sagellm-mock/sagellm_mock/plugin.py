"""The hooks of the mock provider."""

from __future__ import annotations

from collections.abc import Sequence

from sagellm_core.contract import (
    Capability,
    ConfigurationError,
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


@hookimpl
def sagellm_plugin_info() -> PluginInfo:
    """Deterministic answers without a model."""
    return PluginInfo(
        name="mock",
        vendor="sagellm",
        device_class=DeviceClass.SIMULATED,
        contract="1.0",
        capabilities=frozenset(
            {Capability.GENERATE, Capability.EMBED, Capability.LOGPROBS, Capability.ANY_MODEL}
        ),
        description="deterministic made-up answers for tests; no model runs",
    )


@hookimpl
def sagellm_detect_devices() -> Sequence[DeviceInfo]:
    """One device, everywhere."""
    return [DeviceInfo(id="mock", state=DeviceState.USABLE, name="Simulated device")]


@hookimpl
def sagellm_can_load() -> LoadAnswer:
    """Anything."""
    return LoadAnswer(verdict=LoadVerdict.YES, bytes_needed=0)


@hookimpl
def sagellm_load_model(model: ModelDescription, options: LoadOptions) -> LoadedModel:
    """Read the options and the script.

    :raises ConfigurationError: one of them is wrong.
    """
    # Here and below: what runs the mock loads only when it is the one chosen.
    from .model import MockModel

    return MockModel(model, options)


@hookimpl
def sagellm_open_runner(model: LoadedModel, config: RunnerConfig) -> Runner:
    """A runner with a fake cache."""
    from .model import MockModel
    from .runner import MockRunner

    if not isinstance(model, MockModel):
        raise _foreign(model)
    return MockRunner(model, config)


@hookimpl
def sagellm_open_embedder(model: LoadedModel, config: EmbedderConfig) -> Embedder:
    """An embedder of hashed tokens."""
    from .embedder import MockEmbedder
    from .model import MockModel

    if not isinstance(model, MockModel):
        raise _foreign(model)
    options = model.options
    return MockEmbedder(
        options.embedding_dimension, model.max_model_len, config, options.embedding_prompts
    )


def _foreign(model: LoadedModel) -> ConfigurationError:
    return ConfigurationError(
        f"The mock provider cannot run a {type(model).__name__} of another provider.",
        hint="Load the model with the provider that is to run it.",
    )
