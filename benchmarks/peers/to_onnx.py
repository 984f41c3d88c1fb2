"""Builds an ONNX model with onnxruntime-genai's builder: ``to_onnx SOURCE TARGET PRECISION``."""

from __future__ import annotations

import subprocess
import sys
import tempfile


def main() -> int:
    source, target, precision = sys.argv[1:]
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    with tempfile.TemporaryDirectory() as scratch:
        # Its own defaults: blocks of 32 weights, activations of 8 bits with weights of 4.
        done = subprocess.run(
            [*builder, "-i", source, "-o", target, "-p", precision, "-e", "cpu", "-c", scratch],
            check=False,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
