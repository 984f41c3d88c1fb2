"""The sagellm-torch distribution."""

__version__ = "0.1.0"
