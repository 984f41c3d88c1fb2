"""The engine: requests in, token events out, over any runner; no torch.

A request goes :class:`EngineClient` -> :class:`LLMEngine` -> loop -> stepper -> scheduler and
runner, and its tokens come back through the stepper's text and stop handling to its sink.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["AsyncTokenStream", "Completion", "EngineClient", "LLMEngine", "TokenStream"]

_HOME = {
    "AsyncTokenStream": "async_stream",
    "Completion": "completion",
    "EngineClient": "client",
    "LLMEngine": "engine",
    "TokenStream": "stream",
}

if TYPE_CHECKING:
    from .async_stream import AsyncTokenStream
    from .client import EngineClient
    from .completion import Completion
    from .engine import LLMEngine
    from .stream import TokenStream


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
