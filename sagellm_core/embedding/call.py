"""One call: texts to tokens to vectors, window by window, back into the order of the texts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagellm_core.contract import (
    EmptyPromptError,
    InvalidRequestError,
    PromptTooLongError,
    RunnerError,
    TokenizedTexts,
)

from .arrays import numpy
from .config import EmbeddingConfig
from .planning import batches, windows
from .provided import compute, tokenize
from .session import EmbeddingSession
from .texts import find_prompt, read_texts

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

_log = logging.getLogger("sagellm")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """The options of one call, checked.

    :raises InvalidRequestError: a value of the wrong type or out of its range.
    """

    normalize: bool | None = True
    batch_size: int | None = None
    prompt_name: str | None = None
    truncate: bool | None = None

    def __post_init__(self) -> None:
        for name in ("normalize", "truncate"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise _wrong(name, value, "True, False or None")
        size = self.batch_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise _wrong("batch_size", size, "an integer of at least 1, or None")
        if self.prompt_name is not None and not isinstance(self.prompt_name, str):
            raise _wrong("prompt_name", self.prompt_name, "a string or None")


class EmbeddingCall:
    """A call whose texts have been checked.

    :param texts: as the user gave them.
    :raises InvalidRequestError: as in :func:`read_texts`.
    """

    def __init__(self, texts: Any, options: CallOptions, config: EmbeddingConfig) -> None:
        self._texts = read_texts(texts)
        self._options = options
        truncate = options.truncate
        self._truncate = config.truncate if truncate is None else truncate
        self._batch_size = options.batch_size or config.batch_size
        self._max_batch_tokens = config.max_batch_tokens

    def run(
        self, session: EmbeddingSession, check: Callable[[], None] = lambda: None
    ) -> NDArray[float32]:
        """Compute.

        :param check: called before each window and each batch; ends the call by raising.
        :returns: float32 of shape [number of texts, dimension].
        """
        np = numpy()
        prompt = find_prompt(session.prompts, self._options.prompt_name)
        normalize = self._options.normalize
        if normalize is None:
            normalize = session.normalizes
        vectors: NDArray[float32] = np.empty((len(self._texts), session.dimension), np.float32)
        plan = list(windows(self._texts))
        # Several windows are tokenised twice: all is refused before anything is computed, and
        # the tokens of a million texts never lie in memory together.
        if not self._truncate and len(plan) > 1:
            too_long: dict[int, int] = {}
            for window in plan:
                check()
                too_long |= self._too_long(session, window, self._tokens(session, window, prompt))
            _refuse(too_long, session.max_length)
        cut = 0
        for window in plan:
            check()
            tokenized = self._tokens(session, window, prompt)
            too_long = self._too_long(session, window, tokenized)
            if not self._truncate:
                _refuse(too_long, session.max_length)
            cut += len(too_long)
            self._compute(session, window, tokenized.token_ids, vectors, normalize, check)
        if cut:
            _log.warning(
                "%d of %d texts were longer than %d tokens and were cut to that; "
                "truncate=False refuses them instead",
                cut,
                len(self._texts),
                session.max_length,
            )
        return vectors

    def _tokens(
        self, session: EmbeddingSession, window: Sequence[int], prompt: str
    ) -> TokenizedTexts:
        texts = [prompt + self._texts[index] for index in window]
        tokenized = tokenize(session.embedder, texts, session.max_length)
        for index, ids in zip(window, tokenized.token_ids, strict=True):
            if len(ids) == 0:
                raise EmptyPromptError(
                    f"Text {index} has no tokens: the model's tokenizer drops all of it.",
                    hint="Leave it out: it has no meaning to embed.",
                )
        return tokenized

    def _too_long(
        self, session: EmbeddingSession, window: Sequence[int], tokenized: TokenizedTexts
    ) -> dict[int, int]:
        """Tokens of the texts that are too long, by index."""
        return {
            index: int(length)
            for index, length in zip(window, tokenized.lengths, strict=True)
            if length > session.max_length
        }

    def _compute(
        self,
        session: EmbeddingSession,
        window: Sequence[int],
        token_ids: Sequence[Sequence[int]],
        vectors: NDArray[float32],
        normalize: bool,
        check: Callable[[], None],
    ) -> None:
        np = numpy()
        lengths = [len(ids) for ids in token_ids]
        for batch in batches(lengths, self._batch_size, self._max_batch_tokens):
            check()
            rows = compute(
                session.embedder,
                [token_ids[position] for position in batch],
                session.dimension,
                normalize=normalize,
            )
            places = [window[position] for position in batch]
            finite = np.isfinite(rows).all(axis=1)
            if not finite.all():
                bad = min(
                    place for place, good in zip(places, finite.tolist(), strict=True) if not good
                )
                raise RunnerError(
                    f"The vector of text {bad} holds infinity or no number at all (NaN).",
                    hint='The computation overflowed; try dtype="float32", or another provider.',
                )
            vectors[places] = rows


def _refuse(too_long: dict[int, int], limit: int) -> None:
    if not too_long:
        return
    first = min(too_long)
    others = len(too_long) - 1
    more = f", and {others} other {'text is' if others == 1 else 'texts are'} too long as well"
    raise PromptTooLongError(
        f"Text {first} has {too_long[first]} tokens, and the model's limit is {limit}"
        f"{more if others else ''}.",
        hint="Split it, or use truncate=True to embed its beginning.",
    )


def _wrong(name: str, value: Any, wanted: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{name}={value!r} ({type(value).__name__}) is not valid.", hint=f"{name} must be {wanted}."
    )
