"""The ``sagellm`` command."""

from __future__ import annotations


def main() -> int:
    """Run the command that ``sys.argv`` holds; returns its exit code (docs/cli.md)."""
    try:
        _import_quietly()
        from .process import run

        return run()
    except KeyboardInterrupt:
        # Ctrl-C before the handler of `process` was in place.
        import os

        os._exit(130)


def _import_quietly() -> None:
    """Import :mod:`.process`, while Ctrl-C ends the process at once.

    In the middle of an import, KeyboardInterrupt may come in a destructor, where Python prints it
    and goes on. :mod:`signal` is a file to import as well; what it wraps is built in.
    """
    import _signal  # type: ignore[import-not-found]

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        try:
            _signal.signal(_signal.SIGINT, _exit_at_once)
        except ValueError:  # not the main thread, which alone has handlers
            return
        from . import process  # noqa: F401

        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _exit_at_once(*_: object) -> None:
    import os

    os._exit(130)
