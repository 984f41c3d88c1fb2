"""How a test of the suite ends: with a sentence for the vendor."""

from __future__ import annotations

from typing import NoReturn

import pytest


def fail(sentence: str) -> NoReturn:
    """The plugin does not keep the contract. The suite's own lines would say nothing more."""
    pytest.fail(sentence, pytrace=False)


def skip(sentence: str) -> NoReturn:
    """The test does not apply here."""
    pytest.skip(sentence)


def require(condition: object, sentence: str) -> None:
    """Fail with ``sentence`` unless ``condition`` holds."""
    if not condition:
        fail(sentence)
