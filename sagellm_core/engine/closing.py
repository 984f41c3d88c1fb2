"""Giving back what a provider opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sagellm_core.contract import RunnerError, SageLLMError
from sagellm_core.providers.fault import named


@contextmanager
def closing(what: str) -> Iterator[None]:
    """Run a provider's ``close()``; Ctrl-C passes, and so do the contract's own errors.

    :param what: whose it is, for the message: engine, runner or model.
    :raises RunnerError: from anything else, ``SystemExit`` included.
    """
    try:
        yield
    except (SageLLMError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RunnerError(
            f"Closing the provider's {what} failed with {named(error)}.",
            hint="The device's memory may not be free until the process ends.",
        ) from error


@contextmanager
def closing_quietly(what: str) -> Iterator[None]:
    """:func:`closing` on the way out of an error, which matters more than trouble in here."""
    try:
        with closing(what):
            yield
    except SageLLMError:
        pass
