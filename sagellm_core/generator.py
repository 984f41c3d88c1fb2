"""The generator: prompts of every form in, answers with their provenance out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from .config import GeneratorConfig, constructor_signature
from .contract import (
    EngineClosedError,
    FinishReason,
    InvalidRequestError,
    ProgressCallback,
    SageLLMError,
    TokenEvent,
    TokenLogprobs,
)
from .engine import Completion, Prompt
from .inputs import PromptInput, read_input
from .options import CallOptions, call_options
from .prompting import encode_prompt
from .results import TextChunk, answer, failure
from .session import Session, open_session


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
    positional argument is the whole configuration.

    :raises ConfigurationError: an unknown key or a value of the wrong type.
    :raises InvalidSamplingError: a sampling value outside its range.
    """

    __signature__ = constructor_signature()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: The configuration, immutable.
        self.config = GeneratorConfig.from_arguments(args, kwargs)
        self._begin()

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
            ``device``, ``why``, ``dtype``, ...), ``context`` where the input had one.
        :raises InvalidRequestError: an input or an option that cannot be right.
        :raises RequestTimeoutError: ``timeout`` seconds passed.
        """
        prompt, chosen = self._read(data, options)
        session = self._ready()
        request = self._prompt(session, prompt, chosen)
        completion = session.client.generate([request])[0]
        return self._answer(session, prompt, completion)

    def execute_batch(
        self, items: Sequence[Any], *, return_errors: bool = False, **options: Any
    ) -> list[dict[str, Any]]:
        """Answer several prompts at once, in order.

        Every input is checked before anything is computed.

        :param items: inputs as :meth:`execute` takes them; each may carry its own options.
        :param return_errors: put ``{"error": {...}, "text": ""}`` in a failed prompt's place
            instead of raising the first error and cancelling the rest.
        """
        if isinstance(items, (str, Mapping)) or not isinstance(items, Sequence):
            raise InvalidRequestError(
                f"execute_batch takes a list of inputs, not a {type(items).__name__}.",
                hint="Wrap it in a list, or use execute().",
            )
        results: list[dict[str, Any] | None] = [None] * len(items)
        prompts: list[tuple[int, PromptInput, CallOptions]] = []
        for index, data in enumerate(items):
            try:
                prompts.append((index, *self._read(data, options)))
            except InvalidRequestError as error:
                if not return_errors:
                    raise type(error)(f"Input {index}: {error.message}", hint=error.hint) from None
                results[index] = failure(error, {})
        if prompts:
            session = self._ready()
            requests: list[Prompt] = []
            sent: list[tuple[int, PromptInput]] = []
            for index, prompt, chosen in prompts:
                try:
                    requests.append(self._prompt(session, prompt, chosen))
                    sent.append((index, prompt))
                except SageLLMError as error:
                    if not return_errors:
                        raise
                    results[index] = failure(error, self._extras(session, prompt))
            completions = session.client.generate(requests, return_errors=return_errors)
            for (index, prompt), completion in zip(sent, completions, strict=True):
                results[index] = self._answer(session, prompt, completion)
        return [result for result in results if result is not None]

    def stream(self, data: Any, **options: Any) -> Iterator[TextChunk]:
        """Answer one prompt piece by piece.

        The input is checked, and the model loaded, before this returns. Closing the iterator
        cancels the request.

        :returns: pieces that are strings; the last has ``finish_reason`` and ``result``, which
            is what :meth:`execute` would have returned.
        :raises SageLLMError: as :meth:`execute`, also between pieces; nothing is swallowed.
        """
        prompt, chosen = self._read(data, options)
        session = self._ready()
        request = self._prompt(session, prompt, chosen)

        def pieces() -> Iterator[TextChunk]:
            gathered = _Gathered()
            for event in session.client.stream(request):
                chunk = self._chunk(session, prompt, gathered, event)
                if chunk is not None:
                    yield chunk

        return pieces()

    async def stream_async(self, data: Any, **options: Any) -> AsyncIterator[TextChunk]:
        """:meth:`stream` for any event loop; the loop stays free while the model loads."""
        prompt, chosen = self._read(data, options)
        session = await asyncio.to_thread(self._ready)
        request = self._prompt(session, prompt, chosen)
        gathered = _Gathered()
        async for event in session.client.astream(request):
            chunk = self._chunk(session, prompt, gathered, event)
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

    def _prompt(self, session: Session, prompt: PromptInput, chosen: CallOptions) -> Prompt:
        token_ids = encode_prompt(
            prompt, session.engine.tokenizer, chosen.prompt_format, self.config.system_prompt
        )
        return Prompt(
            token_ids=token_ids,
            sampling=chosen.sampling,
            timeout=chosen.timeout,
            priority=chosen.priority,
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
            text=completion.text,
            token_ids=completion.token_ids,
            finish_reason=completion.finish_reason or FinishReason.STOP,
            stop_reason=completion.stop_reason,
            usage=completion.usage,
            timings=completion.timings,
            logprobs=completion.logprobs,
            extras=extras,
        )

    def _chunk(
        self, session: Session, prompt: PromptInput, gathered: _Gathered, event: TokenEvent
    ) -> TextChunk | None:
        gathered.add(event)
        if not event.last:
            # A token may add no text yet (half a character); its id goes out with the next.
            return TextChunk(event.text, token_ids=gathered.take()) if event.text else None
        assert event.finish_reason and event.usage and event.timings, "the last event is complete"
        result = answer(
            text="".join(gathered.text),
            token_ids=gathered.token_ids,
            finish_reason=event.finish_reason,
            stop_reason=event.stop_reason,
            usage=event.usage,
            timings=event.timings,
            logprobs=gathered.logprobs or None,
            extras=self._extras(session, prompt),
        )
        return TextChunk(
            event.text,
            token_ids=gathered.take(),
            finish_reason=str(event.finish_reason),
            result=result,
        )


class _Gathered:
    """What a stream has delivered so far."""

    __slots__ = ("logprobs", "pending", "text", "token_ids")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.token_ids: list[int] = []
        self.pending: list[int] = []
        self.logprobs: list[TokenLogprobs] = []

    def add(self, event: TokenEvent) -> None:
        self.text.append(event.text)
        self.token_ids.extend(event.token_ids)
        self.pending.extend(event.token_ids)
        self.logprobs.extend(event.logprobs or ())

    def take(self) -> tuple[int, ...]:
        taken = tuple(self.pending)
        self.pending.clear()
        return taken
