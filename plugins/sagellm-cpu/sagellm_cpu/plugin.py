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
    Finding,
    LoadAnswer,
    LoadedModel,
    LoadOptions,
    LoadVerdict,
    ModelDescription,
    ModelFormat,
    PluginInfo,
    Runner,
    RunnerConfig,
    SageLLMError,
    Severity,
    hookimpl,
)

from .memory import read_memory
from .processor import read_flags, read_name, usable_threads

_CAPABILITIES = frozenset({Capability.GENERATE, Capability.LOGPROBS, Capability.EMBED})


@hookimpl
def sagellm_plugin_info() -> PluginInfo:
    """Say who we are."""
    return PluginInfo(
        name="cpu",
        vendor="any",
        device_class=DeviceClass.CPU,
        capabilities=_CAPABILITIES,
        description="Any CPU, through torch, in float32",
    )


@hookimpl
def sagellm_detect_devices(env: Mapping[str, str], root: Path) -> Sequence[DeviceInfo]:
    """There is always one."""
    memory = read_memory(root)
    return [
        DeviceInfo(
            id="cpu",
            state=DeviceState.USABLE,
            name=read_name(root),
            memory_total=memory.total if memory else None,
            memory_free=memory.available if memory else None,
        )
    ]


@hookimpl
def sagellm_can_load(model: ModelDescription, device: DeviceInfo) -> LoadAnswer:
    """Whether the native decoder or encoder covers the model, and what it can be opened for."""
    if model.format is ModelFormat.UNRESOLVED:
        return LoadAnswer(
            verdict=LoadVerdict.NO,
            reason=f"{model.reference!r} was not resolved to model files.",
            hint="Pass a directory with safetensors, or a .gguf file.",
        )
    from sagellm_torch.purpose import capabilities_of

    from .footprint import bytes_needed

    try:
        found = capabilities_of(model, _CAPABILITIES)
        needed = bytes_needed(model)
    except SageLLMError as error:
        return LoadAnswer(verdict=LoadVerdict.NO, reason=error.message, hint=error.hint)
    return LoadAnswer(
        verdict=LoadVerdict.YES,
        bytes_needed=needed,
        capabilities=None if found == _CAPABILITIES else found,
    )


@hookimpl
def sagellm_load_model(
    model: ModelDescription, device: DeviceInfo, options: LoadOptions
) -> LoadedModel:
    """Load the weights."""
    from sagellm_torch import load_model

    from .adapter import CPUAdapter

    return load_model(model, CPUAdapter(options.provider_options, options.cache_dir), options)


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
    """Instructions, the compiler of the native kernels, threads and memory."""
    root = Path("/")
    return [
        _instructions(read_flags(root)),
        _kernels(),
        _threads(usable_threads(root)),
        _memory(root),
    ]


def _instructions(flags: Sequence[str]) -> Finding:
    if any(flag.startswith(("avx512", "amx", "sve", "asimd")) for flag in flags):
        return Finding(severity=Severity.OK, message=f"Instructions: {' '.join(flags)}.")
    if flags:
        return Finding(
            severity=Severity.OK,
            message=f"Instructions: {' '.join(flags)}.",
            hint="Processors with AVX-512 are about twice as fast at this.",
        )
    return Finding(
        severity=Severity.WARNING,
        message="No vector instructions were recognised.",
        hint="Generation may be slow on this processor.",
    )


def _kernels() -> Finding:
    from .native.compiler import CompilerError, find_compiler

    try:
        command = " ".join(find_compiler())
    except CompilerError as error:
        return Finding(
            severity=Severity.WARNING,
            message=f"Native kernels: not to be compiled, {error}.",
            hint="Install g++ or clang: torch's operators take about twice as long.",
        )
    return Finding(
        severity=Severity.OK,
        message=f"Native kernels: compiled at first use by {command}.",
    )


def _threads(threads: int) -> Finding:
    return Finding(
        severity=Severity.OK if threads > 1 else Severity.WARNING,
        message=f"Threads: {threads}.",
        hint="" if threads > 1 else "Allow the process more than one processor.",
    )


def _memory(root: Path) -> Finding:
    memory = read_memory(root)
    if memory is None:
        return Finding(
            severity=Severity.WARNING,
            message="The size of the memory is unknown.",
            hint="Models are loaded without checking that they fit.",
        )
    limit = " (limited by the control group)" if memory.limited else ""
    message = (
        f"Memory: {memory.available / 2**30:.1f} GiB available of "
        f"{memory.total / 2**30:.1f} GiB{limit}."
    )
    if memory.available < 2**30:
        return Finding(
            severity=Severity.WARNING, message=message, hint="Even small models need about 1 GiB."
        )
    return Finding(severity=Severity.OK, message=message)
