"""The sagellm-mock distribution."""

__version__ = "0.1.0"
