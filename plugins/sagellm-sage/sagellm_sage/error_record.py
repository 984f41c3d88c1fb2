"""An item that failed, as data, for pipelines that must not lose it."""

from __future__ import annotations

import logging
from typing import Any, Literal

from sagellm_core.contract import ConfigurationError, SageLLMError

_log = logging.getLogger("sagellm.sage")

OnError = Literal["raise", "record"]


def check_on_error(value: Any) -> OnError:
    """The value of the option ``on_error``.

    :raises ConfigurationError: neither ``raise`` nor ``record``.
    """
    if value == "raise":
        return "raise"
    if value == "record":
        return "record"
    raise ConfigurationError(
        f"on_error={value!r} is not known.",
        hint='Use "raise", or "record" to get a dict with "error" for an item that failed.',
    )


def described(error: Exception) -> dict[str, Any]:
    """``type``, ``code``, ``message``, ``hint`` and ``retryable`` of ``error``; it is logged.

    Anything but an error of sagellm is a defect, so that goes into the log with its traceback.
    """
    if isinstance(error, SageLLMError):
        _log.warning("an item became an error record: %s", error)
        return error.to_dict()
    _log.error("an item became an error record", exc_info=error)
    return {
        "type": type(error).__name__,
        "code": SageLLMError.code,
        "message": str(error),
        "hint": "This is a defect of sagellm or of a plugin; the log has its traceback.",
        "retryable": False,
    }
