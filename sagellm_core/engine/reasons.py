"""Why requests and engines end, in words."""

from __future__ import annotations

from sagellm_core.contract import (
    DeviceLostError,
    EngineClosedError,
    EngineError,
    RequestTimeoutError,
    SageLLMError,
)
from sagellm_core.providers.fault import named

from .request import RequestState


def closed_error(why: EngineClosedError) -> EngineClosedError:
    """The reason for a stop, as an error of its own for each who asks."""
    error = EngineClosedError(why.message, hint=why.hint)
    error.__cause__ = why.__cause__
    return error


def defect(error: BaseException) -> EngineClosedError:
    """The engine's thread itself failed."""
    closed = EngineClosedError(
        f"The engine has closed after a failure of its own: {named(error)}.",
        hint="This is a defect in sagellm; please report it with the cause.",
    )
    closed.__cause__ = error
    return closed


def timeout_error(state: RequestState, now: float) -> RequestTimeoutError:
    """A request's deadline has passed."""
    where = "in the queue" if state.admitted_at is None else f"at {state.generated} tokens"
    return RequestTimeoutError(
        f"The request ran out of time {where}, after {now - state.arrived:.3g} s.",
        hint="Allow it more time, or ask for fewer tokens.",
    )


def decode_error(error: BaseException) -> SageLLMError:
    """The tokenizer failed on tokens."""
    if isinstance(error, SageLLMError):
        return error
    explained = EngineError(
        f"The tokenizer failed to decode tokens: {named(error)}.",
        hint="This is a defect of the model's tokenizer or its provider; please report it.",
    )
    explained.__cause__ = error
    return explained


def device_gone(error: DeviceLostError) -> EngineClosedError:
    """The device is gone, and the engine with it."""
    closed = EngineClosedError(
        f"The engine has closed because its device is gone: {error.message}",
        hint="Open a new engine once the device is back.",
    )
    closed.__cause__ = error
    return closed
