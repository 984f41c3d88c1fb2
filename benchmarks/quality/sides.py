"""Which sides there are, and how their processes are started."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.catalogue import LLAMA_CPP, Peer
from benchmarks.peers.environment import environment_python
from benchmarks.peers.weights import converted

from .process import ScoringProcess

#: Gives the process of a side, loaded; takes what all sides are loaded with.
Launch = Callable[[Peer, dict[str, Any]], ScoringProcess]


@dataclass(frozen=True, slots=True)
class Side:
    """One row, and the row that it is compared with."""

    peer: Peer
    #: Index of its reference, which comes before it; its own index: it is one.
    reference: int


def sides(quantizations: Sequence[str], peers: Sequence[str]) -> list[Side]:
    """sagellm in float32 and with each quantisation, then llama.cpp with F16, Q8_0 and Q4_0.

    Each engine is compared with itself: what differs is what quantisation lost, and not how two
    engines round. llama.cpp has no float32 weights here; F16 holds these weights as exactly.
    """
    asked = [name for name in dict.fromkeys(quantizations) if name != "none"]
    found = [Side(_ours("none", {"quantization": "none", "dtype": "float32"}), 0)]
    for name in asked:
        settings = {} if name == "default" else {"quantization": name}
        found.append(Side(_ours(name, settings), 0))
    if LLAMA_CPP.name in peers:
        reference = len(found)
        for kind in ("F16", "Q8_0", "Q4_0"):
            peer = Peer(LLAMA_CPP.name, kind, "llama_cpp_side", LLAMA_CPP, kind)
            found.append(Side(peer, reference))
    return found


def _ours(weights: str, settings: dict[str, str]) -> Peer:
    return Peer("sagellm", weights, "sagellm_side", settings=settings)


def launcher(base: Path, model: Path) -> Launch:
    """Sides in their environments below ``base``, on ``model`` in the form that each reads."""

    def launch(peer: Peer, load: dict[str, Any]) -> ScoringProcess:
        python = environment_python(base, peer.environment) if peer.environment else sys.executable
        path = converted(base, model, peer.form) if peer.form else model
        command = [str(python), "-m", f"benchmarks.quality.{peer.module}"]
        return ScoringProcess(command, {"model": str(path), **load, **peer.settings})

    return launch
