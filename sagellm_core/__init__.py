"""One LLM generator for any accelerator.

>>> from sagellm_core import SageLLMGenerator
>>> gen = SageLLMGenerator(backend_type="mock", model_path="any")
>>> answer = gen.execute("Hello")["text"]
>>> gen.shutdown()
"""

from __future__ import annotations

# Type checkers take a name like this for true. Importing typing to get it would be a quarter of
# what importing this package costs.
TYPE_CHECKING = False

__version__ = "0.1.0"

# Names load on first use: importing the package must cost next to nothing, because pipelines,
# command lines and test collectors import it long before, or without ever, needing a model.
_EXPORTS = {
    "EmbeddingEngine": "sagellm_core.embedding",
    "SageLLMGenerator": "sagellm_core.generator",
    "GeneratorConfig": "sagellm_core.config",
    "SageLLMError": "sagellm_core.contract",
    "SamplingParams": "sagellm_core.contract",
}
# A module, under the name that SAGE has for it.
_MODULES = {"sagellm_registry": "sagellm_core.models.registry"}

__all__ = [
    "EmbeddingEngine",
    "GeneratorConfig",
    "SageLLMError",
    "SageLLMGenerator",
    "SamplingParams",
    "__version__",
    "sagellm_registry",
]

if TYPE_CHECKING:
    from .config import GeneratorConfig
    from .contract import SageLLMError, SamplingParams
    from .embedding import EmbeddingEngine
    from .generator import SageLLMGenerator
    from .models import registry as sagellm_registry


def __getattr__(name: str) -> object:
    module = _EXPORTS.get(name) or _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    imported = import_module(module)
    value = imported if name in _MODULES else getattr(imported, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS, *_MODULES})
