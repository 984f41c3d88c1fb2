"""A deterministic sagellm provider for tests and CI: no model files, no torch."""

__version__ = "0.1.0"
