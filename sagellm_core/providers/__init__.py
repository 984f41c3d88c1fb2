"""Providers: which plugins are installed (S0), what they find (S1), which one runs (S2).

``discover`` reads metadata and imports no plugin. ``probe`` asks every plugin in a short-lived
child process of its own. ``choose_provider`` ranks the answers, ``explain`` shows the ranking,
and ``load_provider`` imports the one plugin that was chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = [
    "Candidate",
    "Controls",
    "Explanation",
    "PluginEntry",
    "ProbeReport",
    "Provider",
    "ProviderChoice",
    "Rejection",
    "choose_provider",
    "discover",
    "explain",
    "load_provider",
    "probe",
]

# Loaded on first use: `sagellm plugins list` needs `discover` and has a budget of milliseconds.
_HOME = {
    "Candidate": "ranking",
    "Controls": "controls",
    "Explanation": "explanation",
    "PluginEntry": "discovery",
    "ProbeReport": "probing",
    "Provider": "provider",
    "ProviderChoice": "selection",
    "Rejection": "rejection",
    "choose_provider": "selection",
    "discover": "discovery",
    "explain": "explanation",
    "load_provider": "loading",
    "probe": "probing",
}

if TYPE_CHECKING:
    from .controls import Controls
    from .discovery import PluginEntry, discover
    from .explanation import Explanation, explain
    from .loading import load_provider
    from .probing import ProbeReport, probe
    from .provider import Provider
    from .ranking import Candidate
    from .rejection import Rejection
    from .selection import ProviderChoice, choose_provider


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
