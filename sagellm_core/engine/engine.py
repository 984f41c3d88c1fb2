"""The engine over a runner."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import weakref
from types import TracebackType
from typing import Protocol

from sagellm_core.contract import (
    Engine,
    EngineClosedError,
    EngineConfig,
    EngineError,
    EngineStats,
    EventSink,
    GenerationRequest,
    InvalidRequestError,
    LoadedModel,
    Runner,
    RunnerConfig,
    Tokenizer,
    TokenizerError,
)

from .admission import Admission
from .client import EngineCalls
from .closing import closing_quietly
from .limits import check_capacity, check_limits, runner_config
from .loop import EngineLoop
from .placement import Placement
from .process import HomeProcess
from .scheduler import Scheduler
from .worker import Worker

#: Seconds that close() waits for a step under way.
_CLOSE_WAIT = 30.0
#: Seconds that the interpreter's exit waits for one.
_EXIT_WAIT = 2.0


class _Opener(Protocol):
    """What :meth:`LLMEngine.open` needs of a provider."""

    @property
    def has_engine(self) -> bool: ...

    def open_engine(self, model: LoadedModel, config: EngineConfig) -> Engine: ...

    def open_runner(self, model: LoadedModel, config: RunnerConfig) -> Runner: ...


class LLMEngine(EngineCalls):
    """Implements :class:`~sagellm_core.contract.Engine` over a runner.

    ``generate``, ``stream`` and their asynchronous twins take prompts as token ids.

    A daemon thread of its own, started by the first request, steps the runner. Closing, or
    dropping the last reference, ends every request and gives the device's memory back.

    :param model: what the runner runs.
    :param runner: owned by the engine from here on, even if this raises.
    :param own_model: close the model with the engine.
    :raises ConfigurationError: a limit is not a positive integer, or beyond the model; or the
        runner's cache is too small for any request.
    :raises BlockAccountingError: the runner's cache has no blocks.
    """

    def __init__(
        self,
        model: LoadedModel,
        runner: Runner,
        config: EngineConfig = EngineConfig(),  # noqa: B008 - frozen
        *,
        own_model: bool = True,
    ) -> None:
        try:
            check_limits(model, config)
            capacity = runner.capacity
            check_capacity(capacity)
            placement = Placement(
                capacity.num_blocks,
                capacity.block_size,
                share=config.prefix_cache and capacity.shareable,
            )
            vocab_size = _vocab_size(model)
            scheduler = Scheduler(
                placement,
                max_running=min(config.max_num_seqs, runner.max_slots),
                max_prefill_tokens=config.max_prefill_tokens,
            )
            self._tokenizer = model.tokenizer
            self._admission = Admission(
                model.tokenizer,
                eos_ids=frozenset(model.eos_token_ids),
                context=config.max_model_len or model.max_model_len,
                cache_tokens=capacity.num_blocks * capacity.block_size,
                vocab_size=vocab_size,
            )
        except BaseException:
            with closing_quietly("runner"):
                runner.close()
            raise
        self._home = HomeProcess()
        self._numbers = itertools.count()
        loop = EngineLoop(runner, scheduler, vocab_size=vocab_size, max_waiting=config.max_waiting)
        self._loop = loop
        self._worker = Worker(loop, runner, model if own_model else None)
        _open_workers.add(self._worker)
        # The thread knows the loop only, so an engine that nobody uses any more ends here. No
        # waiting: the collector may run in any thread, this engine's own included.
        self._finalizer = weakref.finalize(self, self._worker.stop, _closed())
        self._finalizer.atexit = False

    @classmethod
    def open(
        cls,
        provider: _Opener,
        model: LoadedModel,
        config: EngineConfig = EngineConfig(),  # noqa: B008 - frozen
        *,
        own_model: bool = True,
    ) -> Engine:
        """The provider's own engine where it has one, else one over its runner.

        :param own_model: close the model with the engine; a provider's own engine leaves it
            open.
        :raises ConfigurationError: a limit is not a positive integer, or beyond the model.
        """
        if provider.has_engine:
            check_limits(model, config)
            return provider.open_engine(model, config)
        runner = provider.open_runner(model, runner_config(model, config))
        return cls(model, runner, config, own_model=own_model)

    @property
    def engine(self) -> Engine:
        """Itself: where its own ``generate``, ``stream``, ``agenerate`` and ``astream`` go."""
        return self

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._tokenizer

    @property
    def max_model_len(self) -> int:
        """Longest sequence, prompt and output, in tokens: what model, limits and cache allow."""
        return self._admission.max_model_len

    def submit(self, request: GenerationRequest, sink: EventSink) -> None:
        """Queue a request; its events go to ``sink``, the last one exactly once.

        ``sink`` is called from the engine's thread. If it raises, the request is cancelled.

        :raises InvalidRequestError: the request can never run, or its id is in use.
        :raises OverloadedError: the queue is full.
        :raises EngineClosedError: the engine is closed, or was opened in another process.
        """
        self._home.check()
        state = self._admission.check(request, sink, next(self._numbers))
        if not self._loop.submit(state):
            raise InvalidRequestError(
                f"A request with the id {request.request_id!r} is still under way.",
                hint="Give each request an id of its own.",
            )
        self._worker.start()

    def cancel(self, request_id: str) -> bool:
        """End a request wherever it is.

        :returns: whether it was still under way.
        """
        if self._home.left:
            return False
        return self._loop.cancel(request_id)

    def stats(self) -> EngineStats:
        """A snapshot.

        :raises EngineClosedError: the engine was opened in another process.
        """
        self._home.check()
        return self._loop.stats()

    def close(self) -> None:
        """End every request with :class:`EngineClosedError` and free the device's memory.

        Waits for the step under way. May be called twice, and from a sink, where it cannot
        wait.

        :raises EngineError: the step did not return in time; the memory is freed when it does.
        :raises RunnerError: the provider failed while giving the memory back.
        """
        if self._home.left:
            return  # the parent's engine: its thread and its device are not ours to end
        self._worker.stop(_closed())
        if not self._worker.join(_CLOSE_WAIT):
            raise EngineError(
                f"The provider's step has not returned within {_CLOSE_WAIT:g} s.",
                hint="The device's memory is freed once it does, or when the process ends.",
            )
        _open_workers.discard(self._worker)
        self._worker.raise_failure()

    def __enter__(self) -> LLMEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            # What went wrong in the block matters more than trouble on the way out.
            with contextlib.suppress(EngineError):
                self.close()


def _closed() -> EngineClosedError:
    return EngineClosedError("The engine is closed.", hint="Open a new one.")


def _vocab_size(model: LoadedModel) -> int | None:
    # The model's own count comes first: a tokenizer may know ids that have no weights.
    if model.description.vocab_size is not None:
        return model.description.vocab_size
    try:
        return model.tokenizer.vocab_size
    except TokenizerError:
        return None


_open_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _end_open_workers() -> None:
    # A daemon thread that computes while the interpreter is taken down can crash the process.
    for worker in list(_open_workers):
        worker.stop(_closed())
    for worker in list(_open_workers):
        worker.join(_EXIT_WAIT)


atexit.register(_end_open_workers)
