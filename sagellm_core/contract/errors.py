"""The error tree: what went wrong, what to do about it, and whether trying again may help.

Every error that leaves sagellm is a :class:`SageLLMError`. It has a stable ``code`` for
programs, a ``message`` saying what happened, a ``hint`` saying what to do, and ``retryable``.
Where a Python built-in fits too (``ValueError``, ``TimeoutError``), the class is one as well.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "BlockAccountingError",
    "BrokenProviderError",
    "ConfigurationError",
    "DeviceLostError",
    "DeviceOutOfMemoryError",
    "DeviceUnavailableError",
    "DuplicateProviderError",
    "EmptyPromptError",
    "EngineClosedError",
    "EngineError",
    "IncompatibleProviderError",
    "InsufficientMemoryError",
    "InvalidRequestError",
    "InvalidSamplingError",
    "ModelError",
    "ModelFormatError",
    "ModelNotFoundError",
    "NoProviderError",
    "OverloadedError",
    "PromptTooLongError",
    "ProviderError",
    "RequestCancelledError",
    "RequestTimeoutError",
    "RunnerError",
    "SageLLMError",
    "TokenizerError",
    "UnknownProviderError",
    "UnsafeModelError",
    "UnsupportedModelError",
    "UnsupportedOptionError",
]


class SageLLMError(Exception):
    """Base of every error of sagellm.

    :param message: one sentence: what happened, with the numbers and names involved.
    :param hint: one sentence: what to do now; empty when there is nothing useful to say. Where
        several providers were refused, a line for each that begins with its name.
    """

    #: Stable name for programs; never changes once released.
    code: ClassVar[str] = "error"
    #: Whether the same call may succeed later without any change by the caller.
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} Hint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle as cls(*args); `hint` is keyword-only, so it travels as state.
        return (type(self), (self.message,), {"hint": self.hint})

    def to_dict(self) -> dict[str, Any]:
        """The error as plain data: ``type``, ``code``, ``message``, ``hint``, ``retryable``."""
        return {
            "type": type(self).__name__,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
        }


# --- what the caller asked for -------------------------------------------------------------


class InvalidRequestError(SageLLMError, ValueError):
    """The input of one call is not of a known form, or holds something impossible."""

    code = "invalid_request"


class EmptyPromptError(InvalidRequestError):
    """The prompt is empty, or only white space."""

    code = "empty_prompt"


class PromptTooLongError(InvalidRequestError):
    """The prompt has more tokens than the model's context, or than the KV cache, holds."""

    code = "prompt_too_long"


class InvalidSamplingError(InvalidRequestError):
    """A sampling parameter is of the wrong type or outside its range."""

    code = "invalid_sampling"


class ConfigurationError(SageLLMError, ValueError):
    """A constructor argument, configuration key, flag or environment variable is wrong."""

    code = "invalid_configuration"


class UnsupportedOptionError(ConfigurationError):
    """The option is known, but the chosen provider or model does not offer it."""

    code = "unsupported_option"


# --- models --------------------------------------------------------------------------------


class ModelError(SageLLMError):
    """Base of what can be wrong with a model."""

    code = "model_error"


class ModelNotFoundError(ModelError):
    """The model reference leads nowhere."""

    code = "model_not_found"


class ModelFormatError(ModelError):
    """The model's files are truncated, corrupt, incomplete or of a foreign format."""

    code = "model_format"


class UnsafeModelError(ModelError):
    """Loading would run code that came with the model: pickle weights or remote code."""

    code = "unsafe_model"


class UnsupportedModelError(ModelError):
    """The model's architecture (named in the message) or weight type is not supported."""

    code = "unsupported_model"


class TokenizerError(ModelError):
    """The model has no usable tokenizer or chat template, or rendering the template failed."""

    code = "tokenizer"


class InsufficientMemoryError(ModelError):
    """The device has too little memory for this model; needed and available are named."""

    code = "insufficient_memory"


# --- providers -----------------------------------------------------------------------------


class ProviderError(SageLLMError):
    """Base of what can be wrong with a provider plugin."""

    code = "provider_error"


class UnknownProviderError(ProviderError, ValueError):
    """No installed plugin has that name."""

    code = "unknown_provider"


class DuplicateProviderError(ProviderError):
    """Two distributions register one plugin name; both are named in the message."""

    code = "duplicate_provider"


class IncompatibleProviderError(ProviderError):
    """A version gate refused the plugin; the message has plugin, version, needed, present."""

    code = "incompatible_provider"


class BrokenProviderError(ProviderError):
    """The plugin crashed, hung, raised, or broke the contract. ``__cause__`` is kept."""

    code = "broken_provider"


class NoProviderError(ProviderError):
    """No installed provider can run this model here; the message has each one's reason."""

    code = "no_provider"


class DeviceUnavailableError(ProviderError):
    """The provider that was asked for by name has no usable device here."""

    code = "device_unavailable"


# --- running -------------------------------------------------------------------------------


class EngineError(SageLLMError):
    """Base of what can go wrong while generating."""

    code = "engine_error"


class EngineClosedError(EngineError):
    """The engine was closed before, or while, the request ran."""

    code = "engine_closed"


class RequestCancelledError(EngineError):
    """The request was cancelled."""

    code = "cancelled"


class RequestTimeoutError(EngineError, TimeoutError):
    """The request's deadline passed before it was finished."""

    code = "timeout"
    retryable = True


class OverloadedError(EngineError):
    """The engine's queue is full; nothing was started."""

    code = "overloaded"
    retryable = True


class BlockAccountingError(EngineError):
    """KV-cache blocks were freed twice, are foreign to the pool, or exceed its budget.

    It always means a defect in sagellm or in a plugin, never a user's mistake.
    """

    code = "block_accounting"


class RunnerError(EngineError):
    """A runner's step failed. ``__cause__`` is the runner's own exception."""

    code = "runner_failed"


class DeviceOutOfMemoryError(RunnerError):
    """The device ran out of memory in a step; a smaller batch may succeed."""

    code = "device_out_of_memory"
    retryable = True


class DeviceLostError(RunnerError):
    """The device is gone (reset, unplugged, driver crash): the engine cannot go on."""

    code = "device_lost"
