"""A side of the comparison in a process of its own: told what to do by lines of JSON.

Imports neither side, so that each may run in an environment that lacks the other.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

#: Texts to float32 vectors [n, dimension], scaled to length 1.
Embed = Callable[[list[str]], Any]


def serve(name: str, open_embed: Callable[[str, int | None], Embed], version: str) -> int:
    """Answer requests until the input ends.

    Arguments of the process: the model's path, the number of threads (0: the side's own choice),
    and for ``first`` a text: then its vector is computed, and the process ends.
    """
    # Libraries may print; the answers have a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    model, threads, *first = sys.argv[1:]
    embed = open_embed(model, int(threads) or None)
    if first:
        vectors = embed(first)
        answers.write(f"{len(vectors[0])}\n")
        answers.flush()
        return 0
    answers.write(json.dumps({"name": name, "version": version}) + "\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        begin = time.perf_counter()
        vectors = embed(request["texts"])
        seconds = time.perf_counter() - begin
        if "save" in request:
            import numpy as np

            np.save(request["save"], vectors)
        answers.write(json.dumps({"seconds": seconds}) + "\n")
        answers.flush()
    return 0
