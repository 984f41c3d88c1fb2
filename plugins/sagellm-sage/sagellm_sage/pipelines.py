"""Pipelines of ``sage pipeline create-embedding``, run by SAGE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sagellm_core.contract import ConfigurationError
from sagellm_core.pipeline.running import print_result, questions_of, wants_json


def run(words: Sequence[str], *stages: Callable[[Any], Any]) -> int:
    """Take every question through the stages, as a job of SAGE's ``LocalEnvironment``.

    :param words: as for :func:`sagellm_core.pipeline.run`.
    :returns: the exit code, 0. What a stage raises comes out as it is.
    :raises ConfigurationError: no SAGE with ``sage.runtime`` is installed.
    """
    try:
        from sage.runtime import LocalEnvironment
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The pipeline runs in SAGE's LocalEnvironment, which is not installed ({error}).",
            hint="pip install 'isage>=0.3', or create the pipeline with --runtime plain.",
        ) from error
    as_json = wants_json(words)
    questions = list(questions_of(words))
    if not questions:
        return 0
    environment = LocalEnvironment("sagellm-pipeline")
    stream = environment.from_batch(questions)
    for stage in stages:
        stream = stream.map(stage)
    stream.sink(lambda item: print_result(item, as_json=as_json))
    environment.submit(autostop=True)
    return 0
