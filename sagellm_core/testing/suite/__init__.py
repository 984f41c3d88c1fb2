"""The tests that a vendor imports with a star into the file of the declaration.

Hooks come with them, through ``pytest_plugins``. Each class belongs to one of the groups of
:data:`sagellm_core.testing.groups.GROUPS`.
"""

from __future__ import annotations

from .capabilities import TestCapabilities
from .decoding import TestDecoding, settings
from .detection import TestDetection, detect, trees
from .embedding import TestEmbedder, TestVectors, one_encoder
from .engine import TestEngine, TestOwnEngine, generator, prompts
from .fixtures import any_model, bench, conformance_state, model_on_disk, one_decoder, subject
from .loading import TestLoading
from .runner import TestRunner
from .sampling import TestSampling
from .skew import TestSkew
from .static import TestStatic, import_effects
from .tokenizer import TestTokenizer
from .trouble import TestTrouble

__all__ = [
    "TestCapabilities",
    "TestDecoding",
    "TestDetection",
    "TestEmbedder",
    "TestEngine",
    "TestLoading",
    "TestOwnEngine",
    "TestRunner",
    "TestSampling",
    "TestSkew",
    "TestStatic",
    "TestTokenizer",
    "TestTrouble",
    "TestVectors",
    "any_model",
    "bench",
    "conformance_state",
    "detect",
    "generator",
    "import_effects",
    "model_on_disk",
    "one_decoder",
    "one_encoder",
    "prompts",
    "pytest_plugins",
    "settings",
    "subject",
    "trees",
]

#: pytest loads what it finds under this name in a test module.
pytest_plugins = ("sagellm_core.testing.pytest_plugin",)
