"""The options of ``quality``, without what it needs to run."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.peers.catalogue import LLAMA_CPP

#: Names that ``--peers`` may have.
NAMES = (LLAMA_CPP.name,)


def add_quality_arguments(command: argparse.ArgumentParser, model: str) -> None:
    """The options of ``quality``.

    :param model: the default one.
    """
    command.add_argument("-m", "--model", default=model, help="GGUF or directory")
    command.add_argument(
        "--quantizations", default="default,int8,int4", help="of sagellm, comma-separated"
    )
    command.add_argument("--peers", default="", help=f"comma-separated: {', '.join(NAMES)}")
    command.add_argument("--tokens", type=int, default=None, help="of the text [default: all]")
    command.add_argument("--window", type=int, default=512, help="tokens; the second half counts")
    command.add_argument("--threads", type=int, default=None, help="for all")
    command.add_argument("--environments", type=Path, default=None, help="where peers are")
    command.add_argument("--json", type=Path, default=None, help="write all that was measured")
