"""A plugin by its name, as core finds it."""

from __future__ import annotations

from sagellm_core.providers import Controls, PluginEntry, discover
from sagellm_core.providers.selection import asked_for


def find_plugin(name: str) -> PluginEntry:
    """The plugin's entry point.

    :raises SageLLMError: nobody has that name, or its metadata forbids that core runs it.
    """
    return asked_for(name, discover(Controls(backend=name)))
