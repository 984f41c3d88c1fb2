"""The benchmarks are part of the checkout and of no wheel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def benchmarks_importable(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout comes last on the path: what is installed is what is tested."""
    root = Path(__file__).parents[2]
    monkeypatch.setattr(sys, "path", [*sys.path, str(root)])
    return root
