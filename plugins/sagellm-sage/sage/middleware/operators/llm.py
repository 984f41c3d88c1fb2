"""sagellm's operators under the path that SAGE pipelines import them from.

There must be no ``__init__.py`` beside this file or above it: ``sage`` is filled by several
distributions.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False

_EXPORTS = {
    "EmbeddingEngine": "sagellm_core.embedding",
    "SageLLMEmbedding": "sagellm_sage.embedding",
    "SageLLMGenerator": "sagellm_sage.generator",
}
__all__ = ["EmbeddingEngine", "SageLLMEmbedding", "SageLLMGenerator"]

if TYPE_CHECKING:
    from sagellm_sage.embedding import SageLLMEmbedding
    from sagellm_sage.generator import SageLLMGenerator

    from sagellm_core.embedding import EmbeddingEngine

# SAGE has a package here, whose module `sagellm_generator` its users import from too.
__path__: list[str] = []
sagellm_generator = sys.modules[__name__ + ".sagellm_generator"] = sys.modules[__name__]


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        value = getattr(import_module(_EXPORTS[name]), name)
        globals()[name] = value
        return value
    from sagellm_sage.removed import explain

    explain(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
