"""What a plugin's code raised, as an error that names the plugin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sagellm_core.contract.errors import (
    BrokenProviderError,
    InsufficientMemoryError,
    SageLLMError,
)

from .wire import one_line


def said(error: BaseException) -> str:
    """The text of an exception on one line, whatever its class does; may be empty."""
    try:
        return one_line(str(error))
    except Exception:
        return "(its text cannot be shown)"


def named(error: BaseException) -> str:
    """The class of an exception and its text, without a full stop, for the end of a sentence."""
    return f"{type(error).__name__}{_clause(error)}"


@contextmanager
def blamed(title: str, dist: str, where: str) -> Iterator[None]:
    """Run a plugin's code: what it raises leaves as an error of the contract.

    Ctrl-C passes, and so do the contract's own errors.

    :param title: the plugin, as messages name it.
    :param dist: its distribution, for the advice.
    :param where: what runs, as in ``in sagellm_load_model``.
    :raises InsufficientMemoryError: from ``MemoryError``.
    :raises BrokenProviderError: from anything else, ``SystemExit`` included.
    """
    try:
        yield
    except (SageLLMError, KeyboardInterrupt):
        raise
    except MemoryError as error:
        raise InsufficientMemoryError(
            f"{title} ran out of memory {where}{_clause(error)}.",
            hint="Free memory, use a smaller or quantised model, or a smaller KV cache.",
        ) from error
    except BaseException as error:
        raise BrokenProviderError(
            f"{title} raised {type(error).__name__} {where}{_clause(error)}.",
            hint=f"Upgrade it (pip install -U {dist}), or choose another backend. The cause is "
            "attached; on the command line, --debug shows it.",
        ) from error


def _clause(error: BaseException) -> str:
    text = said(error).rstrip(".")
    return f": {text}" if text else ""
