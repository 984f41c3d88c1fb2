"""The generator as a map function of SAGE pipelines."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from sagellm_core import GeneratorConfig
from sagellm_core.config import SECTION, load_config
from sagellm_core.contract import ProgressCallback
from sagellm_core.generator import SageLLMGenerator as CoreGenerator
from sagellm_core.inputs import read_input
from sagellm_core.session import Session, open_session

from .arguments import taken
from .base import map_function
from .error_record import OnError, check_on_error, described
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
}

# A name of its own, because type checkers cannot follow a base class that is chosen at run time.
_MapFunction: Any = map_function()


def _signature() -> inspect.Signature:
    core = inspect.signature(CoreGenerator)
    on_error = inspect.Parameter(
        "on_error", inspect.Parameter.KEYWORD_ONLY, default="raise", annotation=OnError
    )
    return core.replace(parameters=[*core.parameters.values(), on_error])


class SageLLMGenerator(CoreGenerator, _MapFunction):  # type: ignore[misc]
    """:class:`sagellm_core.SageLLMGenerator` as an operator: ``stream.map(SageLLMGenerator, ...)``.

    Its base class is the ``MapFunction`` of the SAGE that is installed. Constructing it only
    checks its arguments; the model is loaded with the first item, once for all operators of the
    process that need the same one, so the items of parallel operators are computed together.

    Arguments are those of the core generator, in its order, or one dict with all of them as the
    only positional argument, as in ``.map(SageLLMGenerator, config["generator"]["sagellm"])``;
    and one more:

    :param on_error: what :meth:`execute` does with an item that fails: ``"raise"``, or
        ``"record"`` to give back a dict with ``error`` in the answer's place. isage-kernel 0.2
        drops an item whose operator raises; isage 0.3 ends the job.
    :raises ConfigurationError: an unknown key, or a value of the wrong type.
    :raises InvalidSamplingError: a sampling value outside its range.
    """

    __signature__ = _signature()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        args, kwargs, own = taken({"on_error": "raise"}, args, kwargs)
        _MapFunction.__init__(self)
        #: ``raise`` or ``record``.
        self.on_error = check_on_error(own["on_error"])
        super().__init__(*args, **kwargs)

    @classmethod
    def from_config(
        cls,
        path: str | Path | None = None,
        *,
        section: str = SECTION,
        on_error: str = "raise",
        **overrides: Any,
    ) -> Self:
        """An operator from a section of a YAML file.

        See :meth:`sagellm_core.SageLLMGenerator.from_config`; ``on_error`` is no key of a file.
        """
        return cls(load_config(path, section, overrides).config, on_error=on_error)

    def _begin(self) -> None:
        super()._begin()
        self._lease = Lease(_key, open_session, Session.close)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _RUNTIME_STATE}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        _MapFunction.__init__(self)
        self.__dict__.update(state)
        self._begin()

    def execute(self, data: Any, **options: Any) -> dict[str, Any]:
        """Answer one item; see :meth:`sagellm_core.SageLLMGenerator.execute`.

        :returns: as the core generator. With ``on_error="record"``, for an item that failed:
            ``text`` and ``generated`` empty, ``finish_reason`` ``"error"``, ``error`` with
            ``type``, ``code``, ``message``, ``hint`` and ``retryable``, ``input`` with the item
            itself, and ``context`` where it had one.
        :raises SageLLMError: with ``on_error="raise"``.
        """
        if self.on_error == "raise":
            return super().execute(data, **options)
        try:
            return super().execute(data, **options)
        except Exception as error:
            return _record(data, error)

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


def _record(data: Any, error: Exception) -> dict[str, Any]:
    record: dict[str, Any] = {
        "text": "",
        "generated": "",
        "finish_reason": "error",
        "token_ids": [],
        "error": described(error),
        "input": data,
    }
    try:
        context = read_input(data).context
    except Exception:
        # The item is no prompt, or what broke it before breaks it again; `input` has it whole.
        context = None
    if context is not None:
        record["context"] = context
    return record
