"""Questions in, results out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sagellm_core.contract import SageLLMError

from .documents import Passage

#: A stage takes what the one before it gave; the first takes a question.
Stage = Callable[[Any], Any]


def run(words: Sequence[str], *stages: Stage) -> int:
    """Take every question through the stages, one after the other, and print each result.

    :param words: the questions, and ``--json`` to print results as JSON, one a line; without a
        question, every line of standard input is one.
    :returns: the exit code, 0.
    """
    for question in questions_of(words):
        item: Any = question
        for stage in stages:
            item = stage(item)
        print_result(item, as_json=wants_json(words))
    return 0


def questions_of(words: Sequence[str]) -> Iterator[str]:
    """The questions that ``words`` hold, or standard input, blank ones left out."""
    asked = [word for word in words if word != "--json"]
    if not asked and sys.stdin.isatty():
        print("One question a line; Ctrl-D ends.", file=sys.stderr)
    for text in asked or sys.stdin:
        if text.strip():
            yield text.strip()


def wants_json(words: Sequence[str]) -> bool:
    """Whether results are to be printed as JSON."""
    return "--json" in words


def print_result(item: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result: the answer and its sources where there is one, else the passages.

    :param item: ``question``, ``passages`` (a list of :class:`Passage`), and ``answer`` and
        ``strategy`` where the pipeline has them.
    """
    passages: list[Passage] = item["passages"]
    if as_json:
        found = [
            {"source": each.chunk.source, "score": each.score, "text": each.chunk.text}
            for each in passages
        ]
        print(json.dumps({**item, "passages": found}, ensure_ascii=False), flush=True)
        return
    print(f"> {item['question']}" + (f"  ({item['strategy']})" if "strategy" in item else ""))
    if "answer" in item:
        print(item["answer"].strip())
    for number, each in enumerate(passages, start=1):
        print(f"  [{number}] {each.chunk.source}  {each.score:.3f}")
        if "answer" not in item:
            print(f"      {' '.join(each.chunk.text.split())}")
    print(flush=True)


def command_line(main: Callable[[Sequence[str]], int]) -> int:
    """Run ``main`` with the words after the program's name; errors of sagellm become lines.

    :returns: the exit code, as ``docs/cli.md`` lists them.
    """
    import logging
    import os

    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("sagellm.pipeline").setLevel(logging.INFO)
    try:
        return main(sys.argv[1:])
    except SageLLMError as error:
        print(f"error: {error.message}", file=sys.stderr)
        for line in error.hint.splitlines():
            print(f"hint: {line}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `... | head`: what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
