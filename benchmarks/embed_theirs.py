"""sentence-transformers' side, with its default settings."""

from __future__ import annotations

import sys
from typing import Any

from .embed_child import Embed, serve


def _open(model: str, threads: int | None) -> Embed:
    import torch
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]

    if threads:
        torch.set_num_threads(threads)
    encoder = SentenceTransformer(model, device="cpu")

    def embed(texts: list[str]) -> Any:
        return encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    return embed


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve("sentence-transformers", _open, version("sentence-transformers")))
