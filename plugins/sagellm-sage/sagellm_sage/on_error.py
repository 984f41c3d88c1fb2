"""The option for pipelines that must not lose an item that fails."""

from __future__ import annotations

from typing import Any, Literal

from sagellm_core.contract import ConfigurationError

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
