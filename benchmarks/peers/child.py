"""A peer in a process of its own, told what to do by lines of JSON.

Imports no peer and nothing of sagellm, so that each may run in an environment that lacks the
others.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Generate(Protocol):
    """Greedy generation to exactly ``new_tokens`` each; all prompts have one length."""

    def __call__(self, prompts: list[list[int]], new_tokens: int) -> list[list[int]]: ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of a trace."""

    #: Seconds after the trace's begin.
    at_s: float
    prompt: list[int]
    new_tokens: int


#: Serves requests as they arrive; for each, seconds from the trace's begin to its first and to
#: its last token.
Follow = Callable[[list[Arrival]], list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Opened:
    """A loaded peer."""

    generate: Generate
    #: What it multiplies in and how it keeps weights, as ``float32, Q8_0``.
    computes: str
    #: ``None`` where a peer takes no requests while it computes others.
    follow: Follow | None = None


#: Takes the model's path and the keyword arguments of the ``load`` request.
Open = Callable[..., Opened]


def serve(version: str, open_peer: Open) -> int:
    """Answer requests until the input ends.

    ``{"op": "load", "model", "threads", "context", "batch", ...}`` comes first, with the
    settings of this peer. Then ``{"op": "generate", "prompts", "new_tokens"}`` is answered with
    seconds and tokens, ``{"op": "follow", "arrivals"}`` with the times of each request,
    ``{"op": "rss"}`` with the most bytes that were resident.
    """
    # Libraries may print; the answers have a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    opened: Opened | None = None
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        operation = request.pop("op")
        begin = time.perf_counter()
        if operation == "load":
            opened = open_peer(request.pop("model"), **request)
            answer: dict[str, Any] = {"version": version, "computes": opened.computes}
        elif operation == "rss":
            answer = {"bytes": _peak_rss()}
        else:
            assert opened is not None, "load comes first"
            if operation == "generate":
                tokens = opened.generate(request["prompts"], request["new_tokens"])
                answer = {"tokens": tokens}
            else:
                assert opened.follow is not None, "asked of peers that follow a trace"
                answer = {"times": opened.follow([Arrival(**a) for a in request["arrivals"]])}
        answer["seconds"] = time.perf_counter() - begin
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


def _peak_rss() -> int:
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Not getrusage: there it counts what the parent had resident when it started this process.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
