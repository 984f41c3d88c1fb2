"""The sagellm-cpu distribution."""

__version__ = "0.1.0"
