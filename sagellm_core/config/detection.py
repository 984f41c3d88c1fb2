"""Which backend and which model to write into a configuration: what is here, and works."""

from __future__ import annotations

from dataclasses import dataclass, field

from sagellm_core.contract import ModelNotFoundError, NoProviderError
from sagellm_core.models import ModelNotLocalError, list_models
from sagellm_core.providers import Controls, Explanation, explain

from .schema import GeneratorConfig

#: Registered models to try, the one used last first; each takes a round of probes.
_MOST_TRIED = 16


@dataclass(frozen=True, slots=True)
class Detected:
    """What was found."""

    backend: str
    #: A reference, as ``model_path`` takes it.
    model: str
    #: The default ceiling on an answer, or the model's whole context where that is shorter.
    max_tokens: int
    #: One sentence on the choice of the backend.
    why: str
    #: Sentences about what was passed over, or is still to come.
    notes: list[str] = field(default_factory=list)


def detect(controls: Controls, model: str | None = None) -> Detected:
    """Choose a backend, and a model that it can load.

    Nothing is loaded or downloaded. Providers are asked as ``auto`` asks them.

    :param model: a reference; ``None``: the registered model that was used or added last, of
        those that are complete and that a provider here can load.
    :raises SageLLMError: the registry cannot be read, no provider can be used, or none can
        load ``model``.
    :raises ModelNotFoundError: no model is registered, or none that could be run.
    """
    if model is not None:
        explanation = explain(model, controls)
        if explanation.error is not None:
            raise explanation.error
        return _detected(model, explanation, [])
    # Where no provider works at all, that is the error, and not one of each model.
    plain = explain(None, controls)
    if plain.error is not None:
        raise plain.error
    registered = list_models()
    if not registered:
        raise ModelNotFoundError(
            "No model is registered on this machine.",
            hint="Type: sagellm models add NAME PATH, or: sagellm models download ORG/NAME, "
            "or name a model with -m.",
        )
    notes: list[str] = []
    tried = 0
    for info in registered:
        if info.problem:
            notes.append(f"{info.model_id} was passed over: {info.problem}")
            continue
        tried += 1
        if tried > _MOST_TRIED:
            break
        explanation = explain(info.model_id, controls)
        problem = explanation.error or explanation.model_error
        if problem is None:
            return _detected(info.model_id, explanation, notes)
        notes.append(f"{info.model_id} was passed over: {problem.message}")
    raise ModelNotFoundError(
        f"None of the registered models can be run here. {' '.join(notes[:3])}",
        hint="See: sagellm models list, and: sagellm plugins why -m NAME",
    )


def _detected(model: str, explanation: Explanation, notes: list[str]) -> Detected:
    if explanation.chosen is None:
        raise NoProviderError("No provider was chosen.", hint="See: sagellm plugins why")
    context = explanation.model.context_length if explanation.model is not None else None
    ceiling: int = GeneratorConfig.model_fields["max_tokens"].default
    error = explanation.model_error
    if isinstance(error, ModelNotLocalError):
        fetch = f"the first use fetches it, or now: sagellm models download {model}"
        notes = [*notes, f"{model} is not on this machine; {fetch}"]
    elif error is not None:
        notes = [*notes, f"{error.message} {error.hint}"]
    return Detected(
        backend=explanation.chosen.entry.name,
        model=model,
        max_tokens=min(ceiling, context) if context else ceiling,
        why=explanation.why,
        notes=notes,
    )
