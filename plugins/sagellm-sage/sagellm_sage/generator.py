"""The generator as a map function of SAGE pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagellm_core import GeneratorConfig
from sagellm_core.contract import ProgressCallback
from sagellm_core.generator import SageLLMGenerator as CoreGenerator
from sagellm_core.session import Session, open_session

from .base import map_function
from .shared import Lease, sharing_key

#: What a runtime or a loaded model put into an instance; it does not travel with a pickle.
_RUNTIME_STATE = ("ctx", "_logger", "_lock", "_session", "_closed", "_lease")

#: Fields that only concern calls: operators that differ in nothing else share a model.
_CALL_FIELDS = {
    "max_tokens",
    "max_new_tokens",
    "temperature",
    "top_p",
    "top_k",
    "engine_id",
    "timeout",
    "default_options",
    "prompt_format",
    "system_prompt",
    "on_error",
}

# A name of its own, because type checkers cannot follow a base class that is chosen at run time.
_MapFunction: Any = map_function()


class SageLLMGenerator(CoreGenerator, _MapFunction):  # type: ignore[misc]
    """:class:`sagellm_core.SageLLMGenerator` as an operator: ``stream.map(SageLLMGenerator, ...)``.

    Its base class is the ``MapFunction`` of the SAGE that is installed. Constructing it only
    checks its arguments; the model is loaded with the first item, once for all operators of the
    process that need the same one, so the items of parallel operators are computed together.

    Arguments are those of the core generator, in its order, or one dict with all of them as the
    only positional argument, as in ``.map(SageLLMGenerator, config["generator"]["sagellm"])``.
    ``on_error="record"`` gives back a dict with ``error`` in the place of an answer that failed:
    isage-kernel 0.2 drops an item whose operator raises; isage 0.3 ends the job.

    :raises ConfigurationError: an unknown key, or a value of the wrong type.
    :raises InvalidSamplingError: a sampling value outside its range.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _MapFunction.__init__(self)
        super().__init__(*args, **kwargs)

    def _begin(self) -> None:
        super()._begin()
        self._lease = Lease(_key, open_session, Session.close)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _RUNTIME_STATE}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        _MapFunction.__init__(self)
        self.__dict__.update(state)
        self._begin()

    def shutdown(self) -> None:
        """End this operator. The model's memory is given back with the last one that shares it.

        May be called twice.
        """
        self._lease.end()

    def _ready(self, on_progress: ProgressCallback | None = None) -> Session:
        return self._lease.get(self.config, on_progress)


def _key(config: GeneratorConfig) -> str:
    # What nobody set is left out, because it may count differently from the same value set.
    return sharing_key("generator", config.model_dump(exclude_unset=True, exclude=_CALL_FIELDS))
