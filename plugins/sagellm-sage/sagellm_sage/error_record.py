"""An item that failed, as data, for pipelines that must not lose it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from sagellm_core.contract import ConfigurationError, SageLLMError

_log = logging.getLogger("sagellm.sage")

OnError = Literal["raise", "record"]


def take_on_error(
    args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """A constructor's arguments without ``on_error``, and its value, ``"raise"`` if not given.

    A dict as the first positional argument is the configuration, and may have it as a key.

    :raises ConfigurationError: it is in both.
    """
    kwargs = dict(kwargs)
    given = [kwargs.pop("on_error")] if "on_error" in kwargs else []
    if args and isinstance(args[0], Mapping) and "on_error" in args[0]:
        whole = dict(args[0])
        given.append(whole.pop("on_error"))
        args = (whole, *args[1:])
    if len(given) > 1:
        raise ConfigurationError("on_error was given twice.", hint="Give each argument once.")
    return args, kwargs, given[0] if given else "raise"


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
