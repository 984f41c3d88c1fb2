"""What a side's process does: load once, then give the logits of windows."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

#: Logits of the rows ``first`` to the last of a text, [rows, vocab] float32, of its tokens alone.
Score = Callable[[list[int], int], "np.ndarray"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A loaded side."""

    score: Score
    #: What it multiplies in and how it keeps weights, as ``float32, Q8_0``.
    computes: str
    #: Text to token ids; ``None`` where nobody asks for it.
    encode: Callable[[str], list[int]] | None = None


#: Takes the model's path and the keyword arguments of the ``load`` request.
Open = Callable[..., Opened]


def serve(version: str, open_side: Open) -> int:
    """Answer requests until the input ends.

    ``{"op": "load", "model", "threads", "context", ...}`` comes first. ``{"op": "encode",
    "text"}`` is answered with tokens; ``{"op": "score", "tokens", "first", "path"}`` writes the
    logits to ``path`` as they lie in memory, and is answered with their shape and the seconds
    that computing them took.
    """
    # Libraries may print; the answers have a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    opened: Opened | None = None
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        operation = request.pop("op")
        if operation == "load":
            opened = open_side(request.pop("model"), **request)
            answer: dict[str, Any] = {"version": version, "computes": opened.computes}
        else:
            assert opened is not None, "load comes first"
            if operation == "encode":
                assert opened.encode is not None, "asked of the side that has the tokenizer"
                answer = {"tokens": opened.encode(request["text"])}
            else:
                begin = time.perf_counter()
                logits = opened.score(request["tokens"], request["first"])
                answer = {"seconds": time.perf_counter() - begin, "shape": list(logits.shape)}
                logits.tofile(request["path"])
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0
