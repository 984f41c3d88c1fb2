"""The hooks. A plugin is a module of functions marked with :data:`hookimpl`.

A plugin may leave out arguments it has no use for, so core can add arguments in a minor
version without breaking anyone. The stage says when a hook runs: S1 hooks run in a
short-lived child process with a time limit and must not import torch or touch a driver; S2
hooks run in the user's process, once, for the one provider that was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pluggy

from .device import DeviceInfo, Finding
from .embedder import Embedder, EmbedderConfig
from .engine import Engine, EngineConfig
from .model import LoadAnswer, LoadedModel, LoadOptions, ModelDescription
from .plugin import PluginInfo
from .runner import Runner, RunnerConfig
from .version import PROJECT_NAME

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
#: Marks a function of a plugin as the implementation of the hook of the same name.
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)

#: Hooks without which a plugin is refused. Besides these it needs at least one of OPENERS.
REQUIRED_HOOKS = (
    "sagellm_plugin_info",
    "sagellm_detect_devices",
    "sagellm_can_load",
    "sagellm_load_model",
)
OPENERS = ("sagellm_open_runner", "sagellm_open_engine", "sagellm_open_embedder")
#: Hooks that run in the probe's child process.
PROBE_HOOKS = (
    "sagellm_plugin_info",
    "sagellm_detect_devices",
    "sagellm_can_load",
    "sagellm_diagnose",
)


@hookspec(firstresult=True)
def sagellm_plugin_info() -> PluginInfo:
    """Say who you are. Stage S1; required; no side effects."""
    raise AssertionError("hook specifications are not called")


@hookspec(firstresult=True)
def sagellm_detect_devices(env: Mapping[str, str], root: Path) -> Sequence[DeviceInfo]:
    """Find your devices. Stage S1; required.

    Read visibility variables from ``env`` and files below ``root`` (``/`` in real life), so
    that tests can hand in a made tree. Return an ``ABSENT`` entry with a reason rather than an
    empty list. Do not initialise a driver.
    """
    raise AssertionError("hook specifications are not called")


@hookspec(firstresult=True)
def sagellm_can_load(model: ModelDescription, device: DeviceInfo) -> LoadAnswer:
    """Say whether you can load this model on this device, and what it needs. Stage S1; required.

    Asked only for usable devices.
    """
    raise AssertionError("hook specifications are not called")


@hookspec(firstresult=True)
def sagellm_load_model(
    model: ModelDescription, device: DeviceInfo, options: LoadOptions
) -> LoadedModel:
    """Load the weights. Stage S2; required.

    :raises ModelError: the model's files or architecture are at fault.
    :raises ConfigurationError: an option is unknown or not offered.
    """
    raise AssertionError("hook specifications are not called")


@hookspec(firstresult=True)
def sagellm_open_runner(model: LoadedModel, config: RunnerConfig) -> Runner:
    """Open a runner over a loaded model. Stage S2; one of the three openers is required.

    :raises InsufficientMemoryError: the KV cache asked for does not fit.
    """
    raise AssertionError("hook specifications are not called")


@hookspec(firstresult=True)
def sagellm_open_embedder(model: LoadedModel, config: EmbedderConfig) -> Embedder:
    """Open an embedder over a loaded model. Stage S2; optional."""
    raise AssertionError("hook specifications are not called")


@hookspec(firstresult=True)
def sagellm_open_engine(model: LoadedModel, config: EngineConfig) -> Engine:
    """Open an engine of your own instead of a runner. Stage S2; optional; wins over a runner."""
    raise AssertionError("hook specifications are not called")


@hookspec(firstresult=True)
def sagellm_diagnose(device: DeviceInfo) -> Sequence[Finding]:
    """Look closer at a device, usable or not, for ``sagellm doctor``. Stage S1; optional."""
    raise AssertionError("hook specifications are not called")
