"""``python -m benchmarks.gpu``: conformance, correctness and speed, written as one JSON."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .checkout import environment, installed
from .verdict import NO_TIME, NOT_ASKED_FOR, doubts

_SCENARIOS = ("alone", "few", "crowd")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--backend", default="cuda", help="the provider [default: cuda]")
    parser.add_argument("--device", default=None, help="as torch names it [default: cuda:0, cpu]")
    parser.add_argument("--dtype", default="auto", help="to compute the speed in")
    parser.add_argument("--tiny", action="store_true", help="small models: only that it runs")
    parser.add_argument(
        "--skip", nargs="*", default=[], help="conformance, correctness, " + ", ".join(_SCENARIOS)
    )
    parser.add_argument("--limit", type=float, default=570, help="seconds; then parts are skipped")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="20 GB")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="where it is written")
    arguments = parser.parse_args()
    if not installed():
        with tempfile.TemporaryDirectory() as folder:
            again = [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:]]
            return subprocess.run(again, env=environment(Path(folder)), check=False).returncode
    device = arguments.device or ("cpu" if arguments.backend == "cpu" else "cuda:0")
    report = _measure(arguments, device)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written to {arguments.json}")
    doubted = doubts(report)
    told = f"not sound: {'; '.join(doubted)}" if doubted else "sound: all that was asked for"
    print(" ".join(told.split()))
    return 1 if doubted else 0


def _measure(arguments: argparse.Namespace, device: str) -> dict[str, Any]:
    from . import scenarios
    from .conforming import conformance
    from .copying import copy_bandwidth
    from .correctness import compare
    from .machine import machine

    begin = time.monotonic()

    def left() -> float:
        return float(arguments.limit) - (time.monotonic() - begin)

    place = scenarios.Place(
        arguments.backend, device, arguments.dtype, arguments.tiny, arguments.scratch
    )
    report: dict[str, Any] = {"machine": machine(device), "tiny": arguments.tiny}
    # Proofs come before speed: a limit cuts off the end.
    size = 1 << (20 if arguments.tiny else 30)
    report["copy_gb_per_second"] = copy_bandwidth(device, size) / 1e9
    print(f"copies: {report['copy_gb_per_second']:,.0f} GB/s")
    parts: list[tuple[str, Callable[[], Any]]] = [
        ("correctness", lambda: [asdict(found) for found in compare(place, left)]),
        ("conformance", lambda: conformance(arguments.backend, left())),
        *((name, lambda name=name: asdict(getattr(scenarios, name)(place))) for name in _SCENARIOS),
    ]
    for name, run in parts:
        report[name] = _part(name, run, skipped=name in arguments.skip, left=left())
    report["seconds"] = time.monotonic() - begin
    return report


def _part(name: str, run: Callable[[], Any], *, skipped: bool, left: float) -> Any:
    """One part's findings; why there are none, where there are none."""
    if skipped:
        return NOT_ASKED_FOR
    if left < 5:
        return NO_TIME
    begin = time.monotonic()
    try:
        found = run()
    except Exception as error:  # the other parts are measured all the same
        found = {"failed": f"{type(error).__name__}: {error}"}
    print(f"{name} ({time.monotonic() - begin:.0f} s): {_line(found)}", flush=True)
    return found


def _line(found: Any) -> str:
    if isinstance(found, list):
        return "; ".join(f"{each['model']} {each['outcome']}" for each in found)
    if "tokens_per_second" in found:
        told = f"{found['tokens_per_second']:,.0f} tokens/s"
        if found["ms_per_token"] is not None:
            told += f", {found['ms_per_token']:.2f} ms a token, {found['gb_per_second']:,.0f} GB/s"
        return told + (f" ({found['target']}: {found['met']})" if found["target"] else "")
    return ", ".join(f"{key} {value}" for key, value in found.items() if key != "report")


if __name__ == "__main__":
    sys.exit(main())
