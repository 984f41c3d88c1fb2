"""``sagellm conformance`` of the provider, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def conformance(backend: str, limit_s: float) -> dict[str, Any]:
    """What it found, as its own ``conformance.json`` says it; and how it ended.

    :param limit_s: after so many seconds it is killed with all that it started.
    """
    command = [sys.executable, "-m", "sagellm_core.cli", "conformance", backend]
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.Popen(
            [*command, "--output", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, errors = run.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return {"exit_code": None, "problem": f"it took more than {limit_s:.0f} s"}
        finally:
            if run.poll() is None:  # also where this process is interrupted
                os.killpg(run.pid, signal.SIGKILL)
                run.communicate()
        found: dict[str, Any] = {"exit_code": run.returncode}
        report = Path(folder) / "conformance.json"
        if report.exists():
            found["report"] = json.loads(report.read_text(encoding="utf-8"))
        else:
            found["problem"] = (errors or output).strip()[-2000:]
        return found
