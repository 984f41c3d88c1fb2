"""Perplexity on a fixed text: ``python -m benchmarks quality``."""
