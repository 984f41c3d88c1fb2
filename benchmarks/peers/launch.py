"""How a peer is started."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .catalogue import Peer
from .environment import environment_python
from .process import PeerProcess
from .weights import converted

#: Gives the process of a peer, loaded; takes what all peers are loaded with.
Launch = Callable[[Peer, dict[str, Any]], PeerProcess]


def launcher(base: Path, model: Path) -> Launch:
    """Peers in their environments below ``base``, on ``model`` in the form that each reads."""

    def launch(peer: Peer, load: dict[str, Any]) -> PeerProcess:
        python = environment_python(base, peer.environment) if peer.environment else sys.executable
        path = converted(base, model, peer.form) if peer.form else model
        command = [str(python), "-m", f"benchmarks.peers.{peer.module}"]
        return PeerProcess(command, {"model": str(path), **load, **peer.settings})

    return launch
