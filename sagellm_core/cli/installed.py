"""Stage S0 for the commands: what is installed, under this run's controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .state import State

if TYPE_CHECKING:
    from sagellm_core.providers import Controls, PluginEntry


def controls_of(
    state: State, backend: str | None = None, *, allow_fallback: bool = False
) -> Controls:
    """The controls of environment variables and of ``-p no:NAME``."""
    from sagellm_core.providers import Controls

    return Controls.from_environment(
        backend=backend, disable=state.disabled, allow_fallback=allow_fallback
    )


def installed_plugins(state: State) -> list[PluginEntry]:
    """Every installed plugin, the rejected ones with their reason.

    :raises ConfigurationError: a control names a plugin that is not installed.
    """
    from sagellm_core.providers import discover

    return discover(controls_of(state))
