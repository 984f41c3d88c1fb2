"""The embedding engine: texts in, vectors out, in the same order."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sagellm_core.contract import EngineClosedError, ProgressCallback, RequestCancelledError

from .arrays import numpy
from .call import CallOptions, EmbeddingCall
from .config import EmbeddingConfig, constructor_signature
from .session import EmbeddingSession, open_session

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray


class EmbeddingEngine:
    """Embeds texts with the best provider that is installed, or the one that is named.

    The constructor only checks its arguments; the model is loaded at the first call, or by
    :meth:`load`. An instance can be pickled (its configuration travels, a loaded model does
    not), used from several threads (one call computes at a time), and used as a context manager.

    >>> with EmbeddingEngine(backend_type="mock", model_path="any") as engine:
    ...     engine.embed(["a house", "a home"]).shape
    (2, 64)

    Arguments are the fields of :class:`~sagellm_core.embedding.EmbeddingConfig`; one dict as the
    only positional argument is the whole configuration.

    :raises ConfigurationError: an unknown key or a value of the wrong type.
    """

    __signature__ = constructor_signature()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: The configuration, immutable.
        self.config = EmbeddingConfig.from_arguments(args, kwargs)
        self._begin()

    def _begin(self) -> None:
        # Held while the model is loaded, while a call computes, and while all is closed.
        self._lock = threading.RLock()
        self._session: EmbeddingSession | None = None
        self._worker: ThreadPoolExecutor | None = None
        #: The process that the session and the worker live in.
        self._pid: int | None = None
        self._closed = False

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.config = state["config"]
        self._begin()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(backend_type={self.config.backend_type!r}, "
            f"model_path={self.config.model_path!r})"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    def load(self, on_progress: ProgressCallback | None = None) -> None:
        """Load now instead of at the first call. Does nothing when loaded.

        :param on_progress: called with (stage, done, total) while downloading and loading.
        :raises SageLLMError: no provider that embeds, a bad model, too little memory, NumPy not
            installed, ...; the next call tries again.
        """
        self._ready(on_progress)

    @property
    def dimension(self) -> int:
        """Length of a vector. Loads the model."""
        return self._ready().dimension

    @property
    def max_length(self) -> int:
        """Longest input in tokens, special tokens and prompt included. Loads the model."""
        return self._ready().max_length

    @property
    def prompts(self) -> dict[str, str]:
        """Texts that the model was trained to see before an input, by name. Loads the model."""
        return dict(self._ready().prompts)

    @property
    def provider(self) -> dict[str, Any]:
        """Who computes: ``name``, ``dist``, ``version``, ``device``, ``why``, ``dtype``,
        ``quantization``, ``notes``, ``pooling``. Loads the model.
        """
        return dict(self._ready().provider)

    def embed(
        self,
        texts: str | Iterable[str],
        normalize: bool | None = True,
        batch_size: int | None = None,
        *,
        prompt_name: str | None = None,
        truncate: bool | None = None,
    ) -> NDArray[float32]:
        """Vectors of ``texts``.

        Every text is checked before anything is computed. Texts are computed sorted by length,
        and their vectors returned in the order of the texts.

        :param texts: strings; a single one counts as a list of one.
        :param normalize: scale vectors to length 1; ``None`` does what the model's own
            configuration says.
        :param batch_size: most texts computed at once; ``None`` for the constructor's.
        :param prompt_name: which of the model's prompts to put before every text; ``None`` for
            its default prompt, where it has one.
        :param truncate: cut texts longer than :attr:`max_length`, with one warning a call
            (logger ``sagellm``), or refuse them; ``None`` for the constructor's.
        :returns: float32 of shape [number of texts, :attr:`dimension`].
        :raises EmptyPromptError: a text is empty, only white space, or has no tokens.
        :raises PromptTooLongError: a text is too long, and ``truncate`` is false.
        :raises InvalidRequestError: something is no text, or an option cannot be right.
        :raises RunnerError: the provider failed, or computed something that is no number.
        """
        options = CallOptions(
            normalize=normalize,
            batch_size=batch_size,
            prompt_name=prompt_name,
            truncate=truncate,
        )
        return self._run(texts, options)

    async def embed_async(
        self,
        texts: str | Iterable[str],
        normalize: bool | None = True,
        batch_size: int | None = None,
        *,
        prompt_name: str | None = None,
        truncate: bool | None = None,
    ) -> NDArray[float32]:
        """:meth:`embed` for any event loop, which stays free while the model loads and computes.

        Cancelling it ends the computation after the batch under way.
        """
        options = CallOptions(
            normalize=normalize,
            batch_size=batch_size,
            prompt_name=prompt_name,
            truncate=truncate,
        )
        stop = threading.Event()
        # A thread of its own: calls wait for each other, and waiting in the event loop's shared
        # threads would starve everything else that uses them.
        future = self._open_worker().submit(self._run, texts, options, stop)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            stop.set()
            raise

    def shutdown(self) -> None:
        """End the call under way after its batch, and give the memory back. May be called twice.

        :raises RunnerError: the provider failed while giving the memory back.
        """
        self._closed = True
        if self._pid not in (None, os.getpid()):
            return  # The parent's device is not ours to end, and its lock may never be free.
        with self._lock:
            session, self._session = self._session, None
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=False)
        if session is not None:
            session.close()

    def _run(
        self, texts: Any, options: CallOptions, stop: threading.Event | None = None
    ) -> NDArray[float32]:
        call = EmbeddingCall(texts, options, self.config)

        def check() -> None:
            self._check_open()
            if stop is not None and stop.is_set():
                raise RequestCancelledError("The call was cancelled.")

        self._check_process()
        with self._lock:
            check()
            return call.run(self._ready(), check)

    def _ready(self, on_progress: ProgressCallback | None = None) -> EmbeddingSession:
        self._check_process()
        session = self._session
        if session is not None:
            return session
        with self._lock:
            self._check_open()
            if self._session is None:
                numpy()  # Without it, loading would be for nothing.
                self._session = open_session(self.config, on_progress)
                self._pid = os.getpid()
            return self._session

    def _open_worker(self) -> ThreadPoolExecutor:
        self._check_process()
        with self._lock:
            self._check_open()
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="sagellm-embedding")
                self._pid = os.getpid()
            return self._worker

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosedError(
                "The embedding engine was shut down.", hint="Make a new EmbeddingEngine."
            )

    def _check_process(self) -> None:
        if self._pid not in (None, os.getpid()):
            raise EngineClosedError(
                f"This embedding engine was loaded in another process ({self._pid}); this is its "
                f"fork {os.getpid()}, and threads and devices do not survive a fork.",
                hint="Load the model after the fork, or start the child with 'spawn'.",
            )
