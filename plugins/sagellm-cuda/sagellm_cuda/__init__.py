"""The sagellm-cuda distribution."""

__version__ = "0.1.0"
