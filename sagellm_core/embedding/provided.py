"""Calls of a provider's embedder, each held to the contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sagellm_core.contract import (
    DeviceOutOfMemoryError,
    Embedder,
    RunnerError,
    SageLLMError,
    TokenizedTexts,
    TokenizerError,
)
from sagellm_core.providers.fault import named

from .arrays import numpy

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

_DEFECT = "This is a defect of the provider's plugin; please report it to its maker."


def tokenize(embedder: Embedder, texts: Sequence[str], limit: int) -> TokenizedTexts:
    """Token ids of ``texts``.

    :param limit: the embedder's ``max_length``.
    :raises TokenizerError: the tokenizer failed.
    :raises RunnerError: what it gave is not what the contract says.
    """
    try:
        result = embedder.encode(texts)
    except (SageLLMError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise TokenizerError(
            f"The provider's tokenizer failed with {named(error)}.",
            hint="This is a defect of the model's tokenizer or of the provider's plugin.",
        ) from error
    with _blamed("encode"):
        counts = [len(ids) for ids in result.token_ids]
        lengths = [int(length) for length in result.lengths]
        for what, found in (("lists of token ids", counts), ("lengths", lengths)):
            if len(found) != len(texts):
                raise _broken(f"encode returned {len(found)} {what} for {len(texts)} texts")
        if counts and max(counts) > limit:
            raise _broken(f"encode returned {max(counts)} tokens, and the limit is {limit}")
    return result


def compute(
    embedder: Embedder, batch: Sequence[Sequence[int]], dimension: int, *, normalize: bool
) -> NDArray[float32]:
    """Vectors of a batch of token ids; they may lie in the provider's own memory.

    :returns: float32 of shape [len(batch), dimension].
    :raises DeviceOutOfMemoryError: also from ``MemoryError``.
    :raises RunnerError: it failed, or what it gave is not what the contract says.
    """
    np = numpy()
    with _blamed("embed"):
        result = embedder.embed(batch, normalize=normalize)
        try:
            vectors = np.asarray(memoryview(result))
        except (TypeError, ValueError) as error:
            raise _broken(
                f"embed returned a {type(result).__name__}, not a buffer of numbers"
            ) from error
        shape = (len(batch), dimension)
        if vectors.dtype != np.float32 or vectors.shape != shape:
            raise _broken(
                f"embed returned {vectors.dtype} of shape {list(vectors.shape)}, not float32 of "
                f"shape {list(shape)}"
            )
    checked: NDArray[float32] = vectors
    return checked


@contextmanager
def _blamed(call: str) -> Iterator[None]:
    try:
        yield
    except (SageLLMError, KeyboardInterrupt):
        raise
    except MemoryError as error:
        raise DeviceOutOfMemoryError(
            f"The provider's embedder ran out of memory in {call}.",
            hint="Use a smaller batch_size or max_batch_tokens.",
        ) from error
    except BaseException as error:
        raise RunnerError(
            f"The provider's embedder failed in {call} with {named(error)}.",
            hint="The cause is attached; on the command line, --debug shows it.",
        ) from error


def _broken(what: str) -> RunnerError:
    return RunnerError(f"The provider's embedder broke its contract: {what}.", hint=_DEFECT)
