"""All that a vendor imports.

Nothing outside this package is part of the agreement between core and its plugins, and nothing
in it knows the rest of core. ``docs/contract.md`` shows each hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "CONTRACT_VERSION",
    "ENTRY_POINT_GROUP",
    "MAX_LOGPROBS",
    "BlockAccountingError",
    "BrokenProviderError",
    "Capability",
    "CompletedStep",
    "ConfigurationError",
    "DecodeRow",
    "DeviceClass",
    "DeviceInfo",
    "DeviceLostError",
    "DeviceOutOfMemoryError",
    "DeviceState",
    "DeviceUnavailableError",
    "DuplicateProviderError",
    "Embedder",
    "EmbedderConfig",
    "EmptyPromptError",
    "Engine",
    "EngineClosedError",
    "EngineConfig",
    "EngineError",
    "EngineStats",
    "EventSink",
    "Finding",
    "FinishReason",
    "GenerationRequest",
    "IncompatibleProviderError",
    "InsufficientMemoryError",
    "InvalidRequestError",
    "InvalidSamplingError",
    "KVCapacity",
    "LoadAnswer",
    "LoadOptions",
    "LoadVerdict",
    "LoadedModel",
    "ModelDescription",
    "ModelError",
    "ModelFormat",
    "ModelFormatError",
    "ModelNotFoundError",
    "NoProviderError",
    "OverloadedError",
    "PluginInfo",
    "PrefillRow",
    "ProgressCallback",
    "PromptTooLongError",
    "ProviderError",
    "RequestCancelledError",
    "RequestTimeoutError",
    "Runner",
    "RunnerConfig",
    "RunnerError",
    "SageLLMError",
    "SamplingParams",
    "Severity",
    "SlotStart",
    "StepHandle",
    "StepResult",
    "Timings",
    "TokenEvent",
    "TokenLogprobs",
    "TokenizedTexts",
    "Tokenizer",
    "TokenizerError",
    "UnknownProviderError",
    "UnsafeModelError",
    "UnsupportedModelError",
    "UnsupportedOptionError",
    "Usage",
    "hookimpl",
]

# Names load on first use: listing plugins needs the errors and nothing else of all this, and has
# a budget of milliseconds.
_HOME = {
    "DeviceInfo": "device",
    "DeviceState": "device",
    "Finding": "device",
    "Severity": "device",
    "Embedder": "embedder",
    "EmbedderConfig": "embedder",
    "Engine": "engine",
    "EngineConfig": "engine",
    "EngineStats": "engine",
    "EventSink": "engine",
    "FinishReason": "engine",
    "GenerationRequest": "engine",
    "Timings": "engine",
    "TokenEvent": "engine",
    "Usage": "engine",
    "BlockAccountingError": "errors",
    "BrokenProviderError": "errors",
    "ConfigurationError": "errors",
    "DeviceLostError": "errors",
    "DeviceOutOfMemoryError": "errors",
    "DeviceUnavailableError": "errors",
    "DuplicateProviderError": "errors",
    "EmptyPromptError": "errors",
    "EngineClosedError": "errors",
    "EngineError": "errors",
    "IncompatibleProviderError": "errors",
    "InsufficientMemoryError": "errors",
    "InvalidRequestError": "errors",
    "InvalidSamplingError": "errors",
    "ModelError": "errors",
    "ModelFormatError": "errors",
    "ModelNotFoundError": "errors",
    "NoProviderError": "errors",
    "OverloadedError": "errors",
    "PromptTooLongError": "errors",
    "ProviderError": "errors",
    "RequestCancelledError": "errors",
    "RequestTimeoutError": "errors",
    "RunnerError": "errors",
    "SageLLMError": "errors",
    "TokenizerError": "errors",
    "UnknownProviderError": "errors",
    "UnsafeModelError": "errors",
    "UnsupportedModelError": "errors",
    "UnsupportedOptionError": "errors",
    "hookimpl": "hookspecs",
    "LoadAnswer": "model",
    "LoadedModel": "model",
    "LoadOptions": "model",
    "LoadVerdict": "model",
    "ModelDescription": "model",
    "ModelFormat": "model",
    "ProgressCallback": "model",
    "Capability": "plugin",
    "DeviceClass": "plugin",
    "PluginInfo": "plugin",
    "CompletedStep": "runner",
    "DecodeRow": "runner",
    "KVCapacity": "runner",
    "PrefillRow": "runner",
    "Runner": "runner",
    "RunnerConfig": "runner",
    "SlotStart": "runner",
    "StepHandle": "runner",
    "StepResult": "runner",
    "TokenLogprobs": "runner",
    "MAX_LOGPROBS": "sampling",
    "SamplingParams": "sampling",
    "TokenizedTexts": "embedder",
    "Tokenizer": "tokenizer",
    "CONTRACT_VERSION": "version",
    "ENTRY_POINT_GROUP": "version",
}

if TYPE_CHECKING:
    from .device import DeviceInfo, DeviceState, Finding, Severity
    from .embedder import Embedder, EmbedderConfig, TokenizedTexts
    from .engine import (
        Engine,
        EngineConfig,
        EngineStats,
        EventSink,
        FinishReason,
        GenerationRequest,
        Timings,
        TokenEvent,
        Usage,
    )
    from .errors import (
        BlockAccountingError,
        BrokenProviderError,
        ConfigurationError,
        DeviceLostError,
        DeviceOutOfMemoryError,
        DeviceUnavailableError,
        DuplicateProviderError,
        EmptyPromptError,
        EngineClosedError,
        EngineError,
        IncompatibleProviderError,
        InsufficientMemoryError,
        InvalidRequestError,
        InvalidSamplingError,
        ModelError,
        ModelFormatError,
        ModelNotFoundError,
        NoProviderError,
        OverloadedError,
        PromptTooLongError,
        ProviderError,
        RequestCancelledError,
        RequestTimeoutError,
        RunnerError,
        SageLLMError,
        TokenizerError,
        UnknownProviderError,
        UnsafeModelError,
        UnsupportedModelError,
        UnsupportedOptionError,
    )
    from .hookspecs import hookimpl
    from .model import (
        LoadAnswer,
        LoadedModel,
        LoadOptions,
        LoadVerdict,
        ModelDescription,
        ModelFormat,
        ProgressCallback,
    )
    from .plugin import Capability, DeviceClass, PluginInfo
    from .runner import (
        CompletedStep,
        DecodeRow,
        KVCapacity,
        PrefillRow,
        Runner,
        RunnerConfig,
        SlotStart,
        StepHandle,
        StepResult,
        TokenLogprobs,
    )
    from .sampling import MAX_LOGPROBS, SamplingParams
    from .tokenizer import Tokenizer
    from .version import CONTRACT_VERSION, ENTRY_POINT_GROUP


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
