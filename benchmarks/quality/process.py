"""A side, seen from the process that compares."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.peers.process import PeerError, PeerProcess


class ScoringProcess(PeerProcess):
    """One side with one model, speaking as :mod:`.child` does. Use it as a context manager."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens.

        :raises PeerError: it ended.
        """
        tokens: list[int] = self._ask({"op": "encode", "text": text})["tokens"]
        return tokens

    def score(self, tokens: list[int], first: int, path: Path) -> tuple[float, torch.Tensor]:
        """Logits of the rows ``first`` to the last of a text.

        :param path: a file through which they come.
        :returns: seconds that the side took, and [rows, vocab] float32.
        :raises PeerError: it ended, or gave another number of rows.
        """
        answer = self._ask({"op": "score", "tokens": tokens, "first": first, "path": str(path)})
        rows, vocab = answer["shape"]
        if rows != len(tokens) - first:
            raise PeerError(f"asked for logits of {len(tokens) - first} rows, got {rows}")
        logits = torch.empty(rows, vocab)
        with path.open("rb") as file:
            file.readinto(logits.numpy())  # type: ignore[arg-type]
        return float(answer["seconds"]), logits
