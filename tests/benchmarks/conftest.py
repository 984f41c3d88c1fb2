"""The benchmarks are part of the checkout and of no wheel."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

# A peer without a model; one that is called "broken" ends while it loads.
_CHILD = """
import sys
sys.path.append({root!r})
from benchmarks.peers.child import Opened, serve

def open_fake(model, **load):
    print("a library that prints")
    if model == "broken":
        sys.exit("no such model")

    def generate(prompts, new_tokens):
        return [[len(prompt)] * new_tokens for prompt in prompts]

    def follow(arrivals):
        return [(a.at_s + 1, a.at_s + 1 + a.new_tokens) for a in arrivals]

    return Opened(generate, "float32, none", follow)

sys.exit(serve("1.2", open_fake))
"""


@pytest.fixture(autouse=True)
def benchmarks_importable(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout comes last on the path: what is installed is what is tested."""
    root = Path(__file__).parents[2]
    monkeypatch.setattr(sys, "path", [*sys.path, str(root)])
    return root


@pytest.fixture
def launch(benchmarks_importable: Path) -> Any:
    """Starts a fake peer; its form is the name of its model."""
    from benchmarks.peers.process import PeerProcess

    command = [sys.executable, "-c", _CHILD.format(root=str(benchmarks_importable))]
    return lambda peer, load: PeerProcess(command, {"model": peer.form, **load})
