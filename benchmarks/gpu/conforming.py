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

#: Seconds for ending the tests.
_GRACE_S = 5


def conformance(backend: str, limit_s: float) -> dict[str, Any]:
    """What it found, as its own ``conformance.json`` says it; and how it ended.

    :param limit_s: after so many seconds it is interrupted, and soon after that killed.
    """
    command = [sys.executable, "-m", "sagellm_core.cli", "conformance", backend]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [*command, "--output", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as run,
    ):
        try:
            output, errors = run.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return {"exit_code": None, "problem": f"it took more than {limit_s:.0f} s"}
        finally:
            _end(run)
        found: dict[str, Any] = {"exit_code": run.returncode}
        report = Path(folder) / "conformance.json"
        if report.exists():
            found["report"] = json.loads(report.read_text(encoding="utf-8"))
        else:
            found["problem"] = (errors or output).strip()[-2000:]
        return found


def _end(run: subprocess.Popen[str]) -> None:
    """End the process if it still runs, as it also does where this one is interrupted."""
    if run.poll() is None:
        # Interrupted, it ends the tests, which run in a session of their own.
        run.send_signal(signal.SIGINT)
        try:
            run.communicate(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
