"""The sagellm-dcu distribution."""

__version__ = "0.1.0"
