"""The hooks. Imports no NumPy before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagellm_core.contract import (
    Capability,
    ConfigurationError,
    DeviceClass,
    DeviceInfo,
    DeviceState,
    EmbedderConfig,
    Finding,
    LoadAnswer,
    LoadOptions,
    LoadVerdict,
    ModelDescription,
    PluginInfo,
    RunnerConfig,
    Severity,
    hookimpl,
)

DECODERS = ("llama", "mistral", "qwen2", "qwen3")
CAPABILITIES = frozenset({Capability.GENERATE, Capability.LOGPROBS, Capability.EMBED})
VARIABLE = "TINY_VISIBLE_DEVICES"


def info(name: str, device_class: DeviceClass = DeviceClass.CPU, **changes: Any) -> PluginInfo:
    return PluginInfo(
        **{
            "name": name,
            "vendor": "Tiny Inc.",
            "device_class": device_class,
            "capabilities": CAPABILITIES,
            **changes,
        }
    )


def boards(env: Mapping[str, str], root: Path) -> Sequence[DeviceInfo]:
    """Boards that show themselves as ``/dev/tiny0`` and so on, as an accelerator's would."""
    found = sorted((root / "dev").glob("tiny[0-9]*"))
    if not found:
        return [
            DeviceInfo(id="none", state=DeviceState.ABSENT, reason=f"There is no {root}/dev/tiny*.")
        ]
    shown = env.get(VARIABLE)
    if shown is not None:
        found = [each for each in found if each.name.removeprefix("tiny") in shown.split(",")]
    if not found:
        reason = f"{VARIABLE}={shown!r} hides every board."
        return [DeviceInfo(id="none", state=DeviceState.ABSENT, reason=reason)]
    return [DeviceInfo(id=each.name, state=DeviceState.USABLE) for each in found]


def write_boards(root: Path) -> None:
    """A made tree with two boards."""
    (root / "dev").mkdir()
    for number in range(2):
        (root / "dev" / f"tiny{number}").write_text("")


@hookimpl
def sagellm_plugin_info() -> PluginInfo:
    return info("tiny")


@hookimpl
def sagellm_detect_devices(env: Mapping[str, str], root: Path) -> Sequence[DeviceInfo]:
    return [DeviceInfo(id="tiny", state=DeviceState.USABLE, name="NumPy")]


@hookimpl
def sagellm_can_load(model: ModelDescription, device: DeviceInfo) -> LoadAnswer:
    if model.model_type == "bert":
        return LoadAnswer(
            verdict=LoadVerdict.YES, capabilities=frozenset({Capability.EMBED}), bytes_needed=1
        )
    if model.model_type in DECODERS:
        return LoadAnswer(verdict=LoadVerdict.YES, bytes_needed=model.weight_bytes)
    reason = f"{model.model_type!r} is not among the architectures."
    return LoadAnswer(verdict=LoadVerdict.NO, reason=reason, hint="Use another model.")


@hookimpl
def sagellm_load_model(model: ModelDescription, options: LoadOptions) -> Any:
    from .model import TinyProviderModel

    return TinyProviderModel(model, options)


@hookimpl
def sagellm_open_runner(model: Any, config: RunnerConfig) -> Any:
    from .runner import TinyRunner

    return TinyRunner(model, config)


@hookimpl
def sagellm_open_embedder(model: Any, config: EmbedderConfig) -> Any:
    from .embedder import TinyEmbedder

    return TinyEmbedder(model, config)


@hookimpl
def sagellm_diagnose(device: DeviceInfo) -> Sequence[Finding]:
    return [Finding(severity=Severity.OK, message="NumPy is here.")]


def refuse(what: str) -> ConfigurationError:
    return ConfigurationError(f"{what} is not offered.", hint="Leave it out.")
