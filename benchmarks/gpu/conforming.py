"""``sagellm conformance`` of the provider, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def conformance(backend: str, limit_s: float) -> dict[str, Any]:
    """What it found, as its own ``conformance.json`` says it; and how it ended."""
    command = [sys.executable, "-m", "sagellm_core.cli", "conformance", backend]
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = subprocess.run(
                [*command, "--output", folder],
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"exit_code": None, "problem": f"it took more than {limit_s:.0f} s"}
        found: dict[str, Any] = {"exit_code": run.returncode}
        report = Path(folder) / "conformance.json"
        if report.exists():
            found["report"] = json.loads(report.read_text(encoding="utf-8"))
        else:
            found["problem"] = (run.stderr or run.stdout).strip()[-2000:]
        return found
