"""Holds refusals to the contract: a typed error that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sagellm_core.contract.errors import BrokenProviderError, SageLLMError

from .finding import fail, require


@contextmanager
def refuses(what: str, *kinds: type[SageLLMError]) -> Iterator[None]:
    """The block must end in one of the contract's errors, with a message and a hint.

    :param what: what is refused, at the beginning of a sentence.
    :param kinds: which errors fit.
    """
    wanted = " or ".join(kind.__name__ for kind in kinds)
    try:
        yield
    except SageLLMError as error:
        cause = error.__cause__ if isinstance(error, BrokenProviderError) else error
        if not isinstance(error, kinds):
            fail(f"{what} ends in {_shown(cause or error)}, not in a {wanted}.")
        require(
            error.message.strip(), f"{what} ends in a {type(error).__name__} without a message."
        )
        require(
            error.hint.strip(),
            f"{what} ends in a {type(error).__name__} without a hint what to do: {error.message}",
        )
    except Exception as error:
        fail(f"{what} ends in {_shown(error)}, not in a {wanted} of the contract.")
    else:
        fail(f"{what} is accepted; a {wanted} was to be raised.")


def _shown(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__} ({text[:200]})"
