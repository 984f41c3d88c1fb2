"""Pipelines over documents: what the programs of ``sagellm pipeline create-embedding`` import.

``documents`` are cut into chunks; a ``dense_index`` finds those near in meaning, a
``lexical_index`` those that share words, and ``fusion`` makes one ranking of two. ``index_file``
keeps vectors between runs, ``prompt`` puts passages before a question, ``running`` takes
questions through the stages. ``settings`` are what a pipeline is told; ``programs`` are the four
pipelines, and ``creation`` writes them.
"""

from __future__ import annotations

from .dense_index import DenseIndex
from .documents import Chunk, Passage, read_chunks
from .fusion import fuse
from .index_file import open_index
from .lexical_index import LexicalIndex
from .prompt import question_prompt
from .running import command_line, run
from .settings import located

__all__ = [
    "Chunk",
    "DenseIndex",
    "LexicalIndex",
    "Passage",
    "command_line",
    "fuse",
    "located",
    "open_index",
    "question_prompt",
    "read_chunks",
    "run",
]
