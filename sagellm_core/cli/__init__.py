"""The ``sagellm`` command."""

from __future__ import annotations


def main() -> int:
    """Run the command that ``sys.argv`` holds; returns its exit code (docs/cli.md)."""
    try:
        from .process import run

        return run()
    except KeyboardInterrupt:
        # Ctrl-C before the handler of `process` was in place.
        import os

        os._exit(130)
