"""The blocks of docs/vllm.md."""

from __future__ import annotations

from typing import Any

PAGE = "vllm.md"


def test_python_blocks_run(place: Any, python_block: Any) -> None:
    done = place.python(python_block.text)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The capital of France is") == 1
