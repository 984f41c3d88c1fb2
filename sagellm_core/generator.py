"""The generator: prompts of every form in, answers with their provenance out."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .config import SECTION, GeneratorConfig, constructor_signature, load_config
from .contract import (
    EngineClosedError,
    InvalidRequestError,
    ProgressCallback,
    SageLLMError,
    SamplingParams,
)
from .engine import Completion
from .inputs import PromptInput, read_input
from .options import CallOptions, call_options, check_options
from .prompting import encode_prompt
from .results import Pieces, TextChunk, answer, failure
from .session import Session, open_session

_log = logging.getLogger("sagellm")


class SageLLMGenerator:
    """Generates text with the best provider that is installed, or the one that is named.

    The constructor only checks its arguments; the model is loaded at the first call, or by
    :meth:`load`. An instance can be pickled (its configuration travels, a loaded model does
    not), used from several threads, and used as a context manager.

    >>> with SageLLMGenerator(backend_type="mock", model_path="any") as gen:
    ...     result = gen.execute("Hello", max_tokens=4)
    >>> result["usage"]["completion_tokens"]
    4

    Arguments are the fields of :class:`~sagellm_core.GeneratorConfig`; one dict as the only
    positional argument is all of them. What no argument says, a ``SAGELLM_*`` variable may;
    they are read here, once. A file is read by :meth:`from_config` only.

    :raises ConfigurationError: an unknown key, a value of the wrong type, a wrong variable.
    :raises InvalidSamplingError: a sampling argument outside its range.
    """

    __signature__ = constructor_signature()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: The configuration, immutable.
        self.config = GeneratorConfig.from_arguments(args, kwargs)
        self._begin()

    @classmethod
    def from_config(
        cls, path: str | Path | None = None, *, section: str = SECTION, **overrides: Any
    ) -> Self:
        """A generator from a section of a YAML file.

        :param path: ``None``: ``$SAGELLM_CONFIG``, else the first that is there of
            ``./config.yaml``, ``./config/config.yaml`` and the user's ``config.yaml`` of SAGE.
        :param section: keys with dots between them.
        :param overrides: arguments; they win over variables, which win over the file.
        :raises ConfigurationError: no file, or something wrong in it; the message begins with
            file, line and column.
        """
        return cls(load_config(path, section, overrides).config)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None
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

    def __getattr__(self, name: str) -> Any:
        # The operator that pipelines know was a dataclass: gen.backend_type, gen.model_path, ...
        # An instance that is being unpickled has no config yet.
        if name in GeneratorConfig.model_fields and "config" in self.__dict__:
            return getattr(self.config, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

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
        :raises SageLLMError: no provider, a bad model, too little memory, ...; the next call
            tries again.
        """
        self._ready(on_progress)

    @property
    def context_length(self) -> int:
        """Longest prompt and answer together, in tokens. Loads the model.

        :raises SageLLMError: as :meth:`load`.
        """
        return self._ready().engine.max_model_len

    def execute(self, data: Any, **options: Any) -> dict[str, Any]:
        """Answer one prompt.

        :param data: a string, ``{"prompt" | "query" | "messages", "options", ...context}``,
            ``[context, prompt]``, ``[context, prompt, options]``, ``[string]`` or a list of
            chat messages.
        :param options: ``max_tokens``, ``temperature``, ``top_p``, ``top_k``, ``min_p``,
            ``seed``, ``stop``, ``logprobs``, ``timeout``, ``prompt_format``, ...; they win over
            the options in ``data``, which win over the constructor's.
        :returns: ``text`` and, equal to it, ``generated``; ``finish_reason`` (``stop`` or
            ``length``), ``stop_reason``, ``token_ids``, ``usage``, ``timings`` in seconds
            (``ttft_s``, ``tpot_s``, ...), ``provider`` (``name``, ``dist``, ``version``,
            ``device``, ``why``, ``dtype``, ...), ``context`` where the input had one. With
            ``on_error="record"``, for an input that failed: ``text`` and ``generated`` empty,
            ``finish_reason`` ``"error"``, ``error`` with ``type``, ``code``, ``message``,
            ``hint`` and ``retryable``, ``input`` with the input itself, and ``context``.
        :raises InvalidRequestError: an input or an option that cannot be right.
        :raises RequestTimeoutError: ``timeout`` seconds passed.
        """
        if self.config.on_error == "raise":
            return self._execute(data, options)
        try:
            return self._execute(data, options)
        except Exception as error:
            _log.warning("an input became an error record: %s", error)
            return failure(error, {"input": data, **_context_of(data)})

    def _execute(self, data: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        prompt, chosen = self._read(data, options)
        session = self._ready()
        (completion,) = session.client.generate(
            [self._encode(session, prompt, chosen)],
            chosen.sampling_within(session.engine.max_model_len),
            timeout=chosen.timeout,
            priority=chosen.priority,
        )
        return self._answer(session, prompt, completion)

    def execute_batch(
        self, items: Sequence[Any], *, return_errors: bool | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """Answer several prompts at once, in order.

        Every input is checked before anything is computed.

        :param items: inputs as :meth:`execute` takes them; each may carry its own options.
        :param return_errors: put ``{"error": {...}, "text": ""}`` in a failed prompt's place
            instead of raising the first error and cancelling the rest. ``None``: as the
            constructor's ``on_error`` says.
        :param options: for every prompt; those of an input lie below them. ``timeout`` bounds
            the whole call. Without it the constructor's timeout is allowed for each round of
            ``max_num_seqs`` prompts.
        """
        if isinstance(items, (str, Mapping)) or not isinstance(items, Sequence):
            raise InvalidRequestError(
                f"execute_batch takes a list of inputs, not {type(items).__name__}.",
                hint="Wrap it in a list, or use execute().",
            )
        check_options(options)
        if return_errors is None:
            return_errors = self.config.on_error == "record"
        results: list[dict[str, Any]] = [{}] * len(items)
        prompts: list[tuple[int, PromptInput, CallOptions]] = []
        for index, data in enumerate(items):
            try:
                prompt, chosen = self._read(data, options)
                _refuse_options_of_the_whole_batch(prompt.options)
                prompts.append((index, prompt, chosen))
            except InvalidRequestError as error:
                if not return_errors:
                    raise type(error)(f"Input {index}: {error.message}", hint=error.hint) from None
                results[index] = failure(error, {})
        if not prompts:
            return results
        session = self._ready()
        token_ids: list[tuple[int, ...]] = []
        sampling: list[SamplingParams] = []
        sent: list[tuple[int, PromptInput]] = []
        for index, prompt, chosen in prompts:
            try:
                token_ids.append(self._encode(session, prompt, chosen))
            except SageLLMError as error:
                if not return_errors:
                    raise
                results[index] = failure(error, self._extras(session, prompt))
                continue
            sampling.append(chosen.sampling_within(session.engine.max_model_len))
            sent.append((index, prompt))
        completions = session.client.generate(
            token_ids,
            sampling,
            timeout=self._batch_timeout(len(sent), options),
            priority=options.get("priority", 0),
            return_errors=return_errors,
        )
        for (index, prompt), completion in zip(sent, completions, strict=True):
            results[index] = self._answer(session, prompt, completion)
        return results

    def stream(self, data: Any, **options: Any) -> Generator[TextChunk, None, None]:
        """Answer one prompt piece by piece.

        The input is checked, and the model loaded, before this returns. Closing the iterator
        cancels the request.

        :returns: pieces that are strings; the last has ``finish_reason`` and ``result``, which
            is what :meth:`execute` would have returned.
        :raises SageLLMError: as :meth:`execute`, also between pieces; nothing is swallowed.
        """
        prompt, chosen = self._read(data, options)
        session = self._ready()
        token_ids = self._encode(session, prompt, chosen)
        sampling = chosen.sampling_within(session.engine.max_model_len)

        def run() -> Generator[TextChunk, None, None]:
            pieces = Pieces(self._extras(session, prompt))
            events = session.client.stream(
                token_ids, sampling, timeout=chosen.timeout, priority=chosen.priority
            )
            # Closing this generator closes the stream, which cancels the request.
            with events:
                for event in events:
                    chunk = pieces.take(event)
                    if chunk is not None:
                        yield chunk

        return run()

    async def stream_async(self, data: Any, **options: Any) -> AsyncGenerator[TextChunk, None]:
        """:meth:`stream` for any event loop; the loop stays free while the model loads."""
        prompt, chosen = self._read(data, options)
        session = await asyncio.to_thread(self._ready)
        # The template and a long prompt take time that belongs to the event loop.
        token_ids = await asyncio.to_thread(self._encode, session, prompt, chosen)
        pieces = Pieces(self._extras(session, prompt))
        events = session.client.astream(
            token_ids,
            chosen.sampling_within(session.engine.max_model_len),
            timeout=chosen.timeout,
            priority=chosen.priority,
        )
        async with events:
            async for event in events:
                chunk = pieces.take(event)
                if chunk is not None:
                    yield chunk

    def shutdown(self) -> None:
        """End running requests and give the memory back. May be called twice."""
        with self._lock:
            session, self._session, self._closed = self._session, None, True
        if session is not None:
            session.close()

    def _ready(self, on_progress: ProgressCallback | None = None) -> Session:
        session = self._session
        if session is not None:
            return session
        with self._lock:
            if self._closed:
                raise EngineClosedError(
                    "The generator was shut down.", hint="Make a new SageLLMGenerator."
                )
            if self._session is None:
                self._session = open_session(self.config, on_progress)
            return self._session

    def _read(self, data: Any, options: Mapping[str, Any]) -> tuple[PromptInput, CallOptions]:
        prompt = read_input(data)
        return prompt, call_options(self.config.call_options(), prompt.options, options)

    def _batch_timeout(self, prompts: int, options: Mapping[str, Any]) -> float | None:
        if "timeout" in options:
            limit: float | None = options["timeout"]
            return limit
        each: float | None = self.config.call_options()["timeout"]
        return None if each is None else each * math.ceil(prompts / self.config.max_num_seqs)

    def _encode(
        self, session: Session, prompt: PromptInput, chosen: CallOptions
    ) -> tuple[int, ...]:
        return encode_prompt(
            prompt, session.engine.tokenizer, chosen.prompt_format, self.config.system_prompt
        )

    def _extras(self, session: Session, prompt: PromptInput) -> dict[str, Any]:
        extras: dict[str, Any] = {"provider": dict(session.provider), "load_s": session.load_s}
        if prompt.context is not None:
            extras["context"] = prompt.context
        if self.config.engine_id:
            extras["engine_id"] = self.config.engine_id
        return extras

    def _answer(
        self, session: Session, prompt: PromptInput, completion: Completion
    ) -> dict[str, Any]:
        extras = self._extras(session, prompt)
        if completion.error is not None:
            return failure(completion.error, extras)
        return answer(
            completion,
            text=completion.text,
            token_ids=completion.token_ids,
            logprobs=completion.logprobs,
            extras=extras,
        )


def _context_of(data: Any) -> dict[str, Any]:
    """``context`` of an input that failed, where it has one."""
    try:
        context = read_input(data).context
    except Exception:
        # It is no prompt, or what broke it before breaks it again; the record has it whole.
        return {}
    return {} if context is None else {"context": context}


def _refuse_options_of_the_whole_batch(options: Mapping[str, Any]) -> None:
    for key in ("timeout", "priority"):
        if key in options:
            raise InvalidRequestError(
                f"{key} cannot be set for one input of a batch.",
                hint=f"Pass {key} to execute_batch(), where it holds for the whole batch.",
            )
