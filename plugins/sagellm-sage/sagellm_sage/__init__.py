"""sagellm in SAGE pipelines.

Importing this imports nothing else: SAGE's command line loads it at every start.
"""

from __future__ import annotations

TYPE_CHECKING = False

__version__ = "0.1.0"

_EXPORTS = {
    "SageLLMEmbedding": "sagellm_sage.embedding",
    "SageLLMGenerator": "sagellm_sage.generator",
    "activate": "sagellm_sage.activation",
    "deactivate": "sagellm_sage.activation",
    "is_active": "sagellm_sage.activation",
    "release_models": "sagellm_sage.shared",
}

__all__ = [
    "SageLLMEmbedding",
    "SageLLMGenerator",
    "__version__",
    "activate",
    "deactivate",
    "is_active",
    "release_models",
]

if TYPE_CHECKING:
    from .activation import activate, deactivate, is_active
    from .embedding import SageLLMEmbedding
    from .generator import SageLLMGenerator
    from .shared import release_models


def __getattr__(name: str) -> object:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
