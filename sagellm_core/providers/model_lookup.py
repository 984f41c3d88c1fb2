"""Describing the model before, and without, deciding who runs it."""

from __future__ import annotations

from typing import Protocol

from sagellm_core.contract.errors import SageLLMError
from sagellm_core.contract.model import ModelDescription


class Describe(Protocol):
    """How a reference becomes a description; :func:`sagellm_core.models.describe` is one."""

    def __call__(self, reference: str, *, allow_download: bool) -> ModelDescription:
        """Describe what ``reference`` leads to.

        :raises ModelError: it leads nowhere, or to something unusable.
        """
        ...


def default_describe() -> Describe:
    """The models floor's own, imported when a model is to be described and not before."""
    from sagellm_core.models import describe

    return describe


def describe_locally(
    reference: str, describe: Describe
) -> tuple[ModelDescription | None, SageLLMError | None]:
    """The description, from what is on disk; or the error that stood in the way."""
    try:
        return describe(reference, allow_download=False), None
    except SageLLMError as error:
        return None, error


def is_elsewhere(error: SageLLMError) -> bool:
    """Whether the model is only not on disk, so that a download may mend the error."""
    from sagellm_core.models import ModelNotLocalError

    return isinstance(error, ModelNotLocalError)
