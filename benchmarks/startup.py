"""From the start of a process to the first token on its standard output."""

from __future__ import annotations

import os
import subprocess
import sys
import time


def first_output_seconds(reference: str) -> float:
    """Seconds until ``sagellm run --stream`` writes its first byte.

    :raises RuntimeError: it ended without any output; its error output is in the message.
    """
    command = [sys.executable, "-m", "sagellm_core.cli", "run", "-m", reference]
    command += ["--backend", "cpu", "-t", "0", "--max-tokens", "8", "--stream", "-p", "Hello"]
    begin = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None, "stdout is a pipe"
        first = os.read(process.stdout.fileno(), 1)
        seconds = time.perf_counter() - begin
        _, errors = process.communicate()
    if not first or process.returncode:
        raise RuntimeError(f"sagellm run failed: {errors.decode(errors='replace').strip()}")
    return seconds
