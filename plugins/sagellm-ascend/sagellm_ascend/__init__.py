"""The sagellm-ascend distribution."""

__version__ = "0.1.0"
