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
from typing import Any, Protocol


class Generate(Protocol):
    """Greedy generation to exactly ``new_tokens`` each; all prompts have one length."""

    def __call__(self, prompts: list[list[int]], new_tokens: int) -> list[list[int]]: ...


#: Takes the model's path and the keyword arguments of the ``load`` request.
Open = Callable[..., Generate]


def serve(version: str, open_generate: Open) -> int:
    """Answer requests until the input ends.

    ``{"op": "load", "model", "threads", "context", "batch", "quantization"}`` comes first;
    ``{"op": "generate", "prompts", "new_tokens"}`` is answered with seconds and tokens,
    ``{"op": "rss"}`` with the most bytes that were resident.
    """
    # Libraries may print; the answers have a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    generate: Generate | None = None
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        operation = request.pop("op")
        begin = time.perf_counter()
        if operation == "load":
            generate = open_generate(request.pop("model"), **request)
            answer: dict[str, Any] = {"version": version}
        elif operation == "generate":
            assert generate is not None, "load comes first"
            answer = {"tokens": generate(request["prompts"], request["new_tokens"])}
        else:
            answer = {"bytes": _peak_rss()}
        answer["seconds"] = time.perf_counter() - begin
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


def _peak_rss() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
