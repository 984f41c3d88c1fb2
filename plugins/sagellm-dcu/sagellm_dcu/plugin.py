"""The provider. Nothing here imports torch before a model is loaded, or starts a process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
    LoadVerdict,
    ModelDescription,
    PluginInfo,
    Runner,
    RunnerConfig,
    hookimpl,
)

if TYPE_CHECKING:
    from .detection import Surroundings

#: Bytes of a weight, and of what the cache holds: both are of 16 bits unless a user asks.
_ITEM = 2
_CAPABILITIES = frozenset({Capability.GENERATE, Capability.LOGPROBS, Capability.EMBED})


@hookimpl
def sagellm_plugin_info() -> PluginInfo:
    """Say who we are."""
    return PluginInfo(
        name="dcu",
        vendor="Hygon",
        device_class=DeviceClass.ACCELERATOR,
        capabilities=_CAPABILITIES,
        description="Hygon DCUs, through a HIP build of torch",
    )


@hookimpl
def sagellm_detect_devices(env: Mapping[str, str], root: Path) -> Sequence[DeviceInfo]:
    """The DCUs that HIP would show to torch, and what is wrong with the others."""
    from .detection import detect

    return detect(_surroundings(env, root))


@hookimpl
def sagellm_can_load(model: ModelDescription, device: DeviceInfo) -> LoadAnswer:
    """Whether the kit covers the model and torch is built for HIP."""
    from sagellm_torch.footprint import bytes_needed
    from sagellm_torch.load_answer import load_answer
    from sagellm_torch.torch_build import installed_torch

    from .fitness import build_problem

    problem = build_problem(installed_torch())
    if problem is not None:
        return LoadAnswer(verdict=LoadVerdict.NO, reason=problem.reason, hint=problem.hint)
    return load_answer(model, _CAPABILITIES, lambda it: bytes_needed(it, _ITEM))


@hookimpl
def sagellm_load_model(
    model: ModelDescription, device: DeviceInfo, options: LoadOptions
) -> LoadedModel:
    """Load the weights."""
    from sagellm_torch import load_model

    from .adapter import DCUAdapter

    # torch calls HIP devices by the other name.
    name = device.id.replace("dcu:", "cuda:")
    return load_model(model, DCUAdapter(name, options.provider_options), options)


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


@hookimpl
def sagellm_diagnose(device: DeviceInfo) -> Sequence[Finding]:
    """Driver, files of the DTK, torch's build, Triton, and what the variables do."""
    from .diagnosis import diagnose

    return diagnose(device, _surroundings(os.environ, Path("/")))


def _surroundings(env: Mapping[str, str], root: Path) -> Surroundings:
    from sagellm_torch.torch_build import installed_torch

    from .detection import Surroundings

    return Surroundings(env=env, root=root, torch=installed_torch())
