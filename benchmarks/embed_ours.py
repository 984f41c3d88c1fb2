"""sagellm's side: ``EmbeddingEngine``, what a caller of the Python API gets."""

from __future__ import annotations

import os
import sys
from typing import Any

from .embed_child import Embed, serve


def _open(model: str, threads: int | None) -> Embed:
    from sagellm_core.embedding import EmbeddingEngine

    options: dict[str, Any] = {"threads": threads} if threads else {}
    engine = EmbeddingEngine(
        backend_type=os.environ.get("BENCHMARK_BACKEND", "cpu"),
        model_path=model,
        provider_options=options,
        quantization=os.environ.get("BENCHMARK_QUANTIZATION"),
    )

    def embed(texts: list[str]) -> Any:
        return engine.embed(texts, normalize=True)

    return embed


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve("sagellm", _open, version("sagellm-core")))
