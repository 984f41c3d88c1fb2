"""Embeddings as a map function of SAGE pipelines."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from sagellm_core.contract import (
    ConfigurationError,
    InvalidRequestError,
    ProgressCallback,
)
from sagellm_core.embedding import EmbeddingConfig, EmbeddingEngine
from sagellm_core.results import described

from .arguments import taken
from .base import map_function
from .on_error import check_on_error
from .shared import Lease, sharing_key

_log = logging.getLogger("sagellm.sage")

#: What a runtime or a loaded model put into an instance; it does not travel with a pickle.
_RUNTIME_STATE = ("ctx", "_logger", "_lease")

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

    :param normalize: scale every vector to length 1; ``None`` does what the model's own
        configuration says.
    :param on_error: what :meth:`execute` does with an item that fails: ``"raise"``, or
        ``"record"`` to give back a dict with ``error``. isage-kernel 0.2 drops an item whose
        operator raises; isage 0.3 ends the job.
    :raises ConfigurationError: an unknown argument, or a value of the wrong type.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        args, kwargs, own = taken({"normalize": True, "on_error": "raise"}, args, kwargs)
        super().__init__()
        normalize = own["normalize"]
        if normalize is not None and not isinstance(normalize, bool):
            raise ConfigurationError(
                f"normalize={normalize!r} ({type(normalize).__name__}) is not true, false or null.",
                hint="Leave it out for vectors of length 1.",
            )
        #: Whether vectors are scaled to length 1; ``None``: as the model's configuration says.
        self.normalize: bool | None = normalize
        #: ``raise`` or ``record``.
        self.on_error = check_on_error(own["on_error"])
        #: The engine's configuration, immutable.
        self.config = EmbeddingConfig.from_arguments(args, kwargs)
        self._begin()

    def _begin(self) -> None:
        self._lease = Lease(_key, _open, EmbeddingEngine.shutdown)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _RUNTIME_STATE}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        _MapFunction.__init__(self)
        self.__dict__.update(state)
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
        """Load now instead of with the first item. Does nothing when loaded.

        :param on_progress: called with (stage, done, total) while downloading and loading.
        :raises SageLLMError: no provider, a bad model, too little memory, ...
        """
        self._ready(on_progress)

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
            _log.warning("an item became an error record: %s", error)
            return {
                "vectors": [],
                "dimension": None,
                "model_id": self.config.model_path,
                "error": described(error),
                "input": data,
            }

    def shutdown(self) -> None:
        """End this operator. The model's memory is given back with the last one that shares it.

        May be called twice.
        """
        self._lease.end()

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
        engine = self._ready()
        vectors = engine.embed(texts, normalize=self.normalize)
        return {
            "vectors": vectors.tolist(),
            "dimension": engine.dimension,
            "model_id": self.config.model_path,
            "provider": dict(engine.provider),
        }

    def _ready(self, on_progress: ProgressCallback | None = None) -> EmbeddingEngine:
        return self._lease.get(self.config, on_progress)


def _open(config: EmbeddingConfig, on_progress: ProgressCallback | None) -> EmbeddingEngine:
    engine = EmbeddingEngine(config)
    engine.load(on_progress)
    return engine


def _key(config: EmbeddingConfig) -> str:
    return sharing_key("embedding", config.model_dump(exclude_unset=True))
