"""Speed and correctness on an accelerator in one command: ``python -m benchmarks.gpu``."""
