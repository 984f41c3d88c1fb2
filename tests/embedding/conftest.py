"""Providers that embed, as real plugins, and one that writes down what it is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sagellm_core import EmbeddingEngine

#: Tells each call by appending a line of JSON to a file.
RECORDING = """
    import json

    def record(**what):
        with open({log!r}, "a") as file: file.write(json.dumps(what) + "\\n")

    class Recording(Opened):
        dimension, max_length = 3, {limit}
        def encode(self, texts):
            record(encode=len(texts))
            whole = [list(text.encode()) for text in texts]
            return TokenizedTexts(
                token_ids=[ids[:self.max_length] for ids in whole],
                lengths=[len(ids) for ids in whole])
        def embed(self, batch, *, normalize):
            record(embed=[len(ids) for ids in batch], normalize=normalize)
            {embed}
            values = [float(n) for ids in batch for n in (len(ids), ids[0], ids[-1])]
            return memoryview(array("f", values)).cast("B").cast("f", [len(batch), 3])
        def close(self): record(close="embedder")

    class Loaded(Model):
        def close(self): record(close="model")

    @hookimpl
    def sagellm_open_embedder(model, config):
        {opening}
"""
ANY = "frozenset({'any_model', 'embed'})"


class Recorder:
    """A provider named ``vec`` and what it was asked for."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def calls(self, kind: str) -> list[Any]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [call[kind] for call in map(json.loads, lines) if kind in call]


@pytest.fixture
def recorder(plugin_site: Any, tmp_path: Path) -> Callable[..., Recorder]:
    """Installs the recording provider; ``embed`` is a statement run in each batch."""

    def install(
        embed: str = "pass", opening: str = "return Recording()", limit: int = 10
    ) -> Recorder:
        log = tmp_path / "calls"
        tail = RECORDING.format(log=str(log), embed=embed, opening=opening, limit=limit)
        plugin_site.add("vec", capabilities=ANY, tail=tail, load="return Loaded(model)")
        return Recorder(log)

    return install


@pytest.fixture
def engine() -> Iterator[Callable[..., EmbeddingEngine]]:
    """Makes engines, the mock's unless told otherwise, and shuts them down."""
    made: list[EmbeddingEngine] = []

    def make(backend: str = "mock", model: str = "any", **config: Any) -> EmbeddingEngine:
        made.append(EmbeddingEngine(backend, model, **config))
        return made[-1]

    yield make
    for one in made:
        one.shutdown()
