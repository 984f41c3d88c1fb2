"""Speed, measured: ``python -m benchmarks cpu``."""
