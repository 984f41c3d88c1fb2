"""sagellm's model registry under the path that SAGE users import it from.

There must be no ``__init__.py`` beside this file or above it: ``sage`` is filled by several
distributions.
"""

from __future__ import annotations

import sys

from sagellm_core.models import registry as sagellm_registry
from sagellm_core.models import vllm_registry

#: What SAGE's package at this path hands on from its ``sagellm_registry``.
_HANDED_ON = (
    "ModelInfo",
    "delete_model",
    "download_model",
    "ensure_model_available",
    "fetch_recommended_models",
    "get_model_path",
    "list_models",
    "touch_model",
)
__all__ = [*_HANDED_ON, "sagellm_registry"]

# SAGE has a package here. These are the modules that its users import from it.
__path__: list[str] = []
sys.modules[__name__ + ".sagellm_registry"] = sagellm_registry
sys.modules[__name__ + ".vllm_registry"] = vllm_registry
recommended = sys.modules[__name__ + ".recommended"] = sagellm_registry


def __getattr__(name: str) -> object:
    if name in _HANDED_ON:
        return getattr(sagellm_registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HANDED_ON})
