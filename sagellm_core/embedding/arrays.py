"""NumPy, which only embeddings need."""

from __future__ import annotations

from types import ModuleType

from sagellm_core.contract import ConfigurationError


def numpy() -> ModuleType:
    """The module ``numpy``.

    :raises ConfigurationError: it is not installed, or cannot be imported.
    """
    try:
        import numpy
    except ImportError as error:
        raise ConfigurationError(
            f"Embeddings need NumPy, which cannot be imported: {error}.",
            hint="Run: pip install 'sagellm-core[embeddings]'",
        ) from error
    return numpy
