"""Embeddings as a map function of SAGE pipelines."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from sagellm_core.contract import (
    ConfigurationError,
    EngineClosedError,
    InvalidRequestError,
    ProgressCallback,
)
from sagellm_core.embedding import EmbeddingEngine

from .base import map_function
from .error_record import check_on_error, described, take_on_error
from .shared import Lease, sharing_key

#: What a runtime or a loaded model put into an instance; it does not travel with a pickle.
_RUNTIME_STATE = ("ctx", "_logger", "_lock", "_closed", "_held")
_POSITIONAL = ("backend_type", "model_path")

# A name of its own, because type checkers cannot follow a base class that is chosen at run time.
_MapFunction: Any = map_function()


class SageLLMEmbedding(_MapFunction):  # type: ignore[misc]
    """Turns texts into vectors: ``stream.map(SageLLMEmbedding, backend_type, model_path)``.

    Its base class is the ``MapFunction`` of the SAGE that is installed. Constructing it only
    checks its arguments; the model is loaded with the first item, once for all operators of the
    process that need the same one.

    Arguments are those of :class:`sagellm_core.EmbeddingEngine`, of which ``backend_type`` and
    ``model_path`` may be positional, or one dict with all of them as the only positional
    argument; and two more:

    :param normalize: scale every vector to length 1.
    :param on_error: what :meth:`execute` does with an item that fails: ``"raise"``, or
        ``"record"`` to give back a dict with ``error``. isage-kernel 0.2 drops an item whose
        operator raises; isage 0.3 ends the job.
    :raises ConfigurationError: an unknown argument, or a value of the wrong type.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        args, kwargs, on_error = take_on_error(args, kwargs)
        super().__init__()
        values = _bound(args, kwargs)
        normalize = values.pop("normalize", True)
        if not isinstance(normalize, bool):
            raise ConfigurationError(
                f"normalize={normalize!r} ({type(normalize).__name__}) is not true or false.",
                hint="Leave it out for vectors of length 1.",
            )
        #: Whether vectors are scaled to length 1.
        self.normalize = normalize
        #: ``raise`` or ``record``.
        self.on_error = check_on_error(on_error)
        #: The arguments of the engine.
        self.config = values
        EmbeddingEngine(**values)  # checks them; its model is loaded on first use only
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._held: tuple[dict[str, Any], Lease[EmbeddingEngine]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _RUNTIME_STATE}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        _MapFunction.__init__(self)
        vars(self).update(state)
        self._begin()

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={value!r}" for key, value in self.config.items())
        return f"{type(self).__name__}({shown})"

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
        """Load now instead of with the first item. Does nothing when loaded.

        :param on_progress: called with (stage, done, total) while downloading and loading.
        :raises SageLLMError: no provider, a bad model, too little memory, ...
        """
        self._lease().get(on_progress)

    def execute(self, data: str | list[str] | tuple[str, ...]) -> dict[str, Any]:
        """Embed one text or several.

        :returns: ``vectors``, a list of one list of floats per text, in order; ``dimension``,
            the length of each; ``model_id``, the ``model_path`` that was configured;
            ``provider``, what computed them. With ``on_error="record"``, for an item that
            failed: ``vectors`` empty, ``dimension`` ``None``, ``error`` with ``type``, ``code``,
            ``message``, ``hint`` and ``retryable``, and ``input`` with the item itself.
        :raises SageLLMError: with ``on_error="raise"``.
        """
        if self.on_error == "raise":
            return self._embed(data)
        try:
            return self._embed(data)
        except Exception as error:
            return {
                "vectors": [],
                "dimension": None,
                "model_id": self._model_id(),
                "error": described(error),
                "input": data,
            }

    def shutdown(self) -> None:
        """End this operator. The model's memory is given back with the last one that shares it.

        May be called twice.
        """
        with self._lock:
            held, self._held, self._closed = self._held, None, True
        if held is not None:
            held[1].release()

    def _embed(self, data: Any) -> dict[str, Any]:
        if isinstance(data, str):
            texts = [data]
        elif isinstance(data, (list, tuple)):
            texts = list(data)
        else:
            raise InvalidRequestError(
                f"An item of type {type(data).__name__} cannot be embedded.",
                hint="Pass a string or a list of strings.",
            )
        engine = self._lease().get()
        vectors = engine.embed(texts, normalize=self.normalize)
        return {
            "vectors": vectors.tolist(),
            "dimension": engine.dimension,
            "model_id": self._model_id(),
            "provider": dict(engine.provider),
        }

    def _model_id(self) -> str:
        return str(self.config.get("model_path", ""))

    def _lease(self) -> Lease[EmbeddingEngine]:
        config = self.config
        with self._lock:
            if self._closed:
                raise EngineClosedError(
                    "The operator was shut down.", hint="Make a new SageLLMEmbedding."
                )
            held = self._held
            # A checkpoint that was restored may have put another configuration in place.
            if held is None or held[0] is not config:
                if held is not None:
                    held[1].release()

                def loaded(on_progress: ProgressCallback | None) -> EmbeddingEngine:
                    engine = EmbeddingEngine(**config)
                    engine.load(on_progress)
                    return engine

                key = sharing_key("embedding", config)
                held = (config, Lease(key, loaded, EmbeddingEngine.shutdown))
                self._held = held
            return held[1]


def _bound(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if args and isinstance(args[0], Mapping):
        if len(args) > 1:
            raise ConfigurationError(
                "A configuration dict must be the only positional argument.",
                hint="Put the other values into the dict, or pass them by keyword.",
            )
        values = dict(args[0])
    elif len(args) > len(_POSITIONAL):
        raise ConfigurationError(
            f"{len(args)} positional arguments were given; there are {len(_POSITIONAL)}.",
            hint="Pass the others by keyword.",
        )
    else:
        values = dict(zip(_POSITIONAL, args, strict=False))
    twice = sorted(set(values) & set(kwargs), key=str)
    if twice:
        raise ConfigurationError(f"{twice[0]} was given twice.", hint="Give each argument once.")
    return values | dict(kwargs)
