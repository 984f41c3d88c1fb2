"""The settings of a pipeline: what they are, and how a YAML file says them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagellm_core.contract import ConfigurationError

#: Kinds of pipelines, with what each does in one line, and the module in ``programs``.
KINDS = {
    "rag": ("Answer questions from the passages nearest in meaning.", "rag"),
    "knowledge-base": ("Embed documents into an index file, and search it.", "knowledge_base"),
    "hybrid-search": ("Search by meaning and by words, in one ranking.", "hybrid_search"),
    "multi-strategy": ("Search in the way that fits each question.", "multi_strategy"),
}

#: Where a pipeline can run: the module whose ``run`` takes questions through the stages.
RUNTIMES = {"plain": "sagellm_core.pipeline", "sage": "sagellm_sage.pipelines"}


@dataclass(frozen=True, slots=True)
class _Setting:
    """One key: its types, what it means, and the kinds that have it (empty: all)."""

    types: tuple[type, ...]
    comment: str
    kinds: frozenset[str] = frozenset()


_TWO_WAYS = frozenset({"hybrid-search", "multi-strategy"})

_SETTINGS = {
    "documents": _Setting(
        (str,), "A text file, or a directory with .md and .txt files; relative to this file."
    ),
    "index": _Setting(
        (str, type(None)),
        "Where vectors are kept until a document changes; nothing: nowhere.",
    ),
    "chunk_size": _Setting((int,), "Most characters of a chunk of a document."),
    "chunk_overlap": _Setting((int,), "Characters that a chunk shares with the one before."),
    "top_k": _Setting((int,), "How many passages are found for a question."),
    "normalize": _Setting((bool,), "Compare vectors by direction alone."),
    "dense_weight": _Setting((int, float), "How much the ranking by meaning counts.", _TWO_WAYS),
    "sparse_weight": _Setting((int, float), "How much the ranking by words counts.", _TWO_WAYS),
    "embedding": _Setting((dict,), "What EmbeddingEngine is made from (docs/embedding.md)."),
    "generator": _Setting(
        (dict,), "What SageLLMGenerator is made from (docs/config.md).", frozenset({"rag"})
    ),
}


def names_of(kind: str) -> list[str]:
    """The settings that pipelines of this kind have."""
    return [name for name, each in _SETTINGS.items() if not each.kinds or kind in each.kinds]


def comment_of(name: str) -> str:
    """What a setting means, in one sentence."""
    return _SETTINGS[name].comment


def located(settings: Mapping[str, Any], file: str | Path) -> dict[str, Any]:
    """The settings with absolute paths, so that a pipeline runs from any directory.

    :param file: the pipeline's file; relative ``documents`` and ``index`` are beside it.
    """
    directory = Path(file).absolute().parent
    places = {
        name: str(directory / Path(settings[name]).expanduser())
        for name in ("documents", "index")
        if settings[name] is not None
    }
    return {**settings, **places}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A pipeline that can be written, or run."""

    kind: str
    runtime: str
    #: Every setting of the kind.
    settings: Mapping[str, Any]


def read_plan(path: str | Path) -> Plan:
    """The pipeline that a YAML file describes.

    :raises ConfigurationError: the file cannot be read, is not valid YAML, or a key in it is
        unknown, missing, or of the wrong type; the message has file and line.
    """
    from sagellm_core.config import read_config_file

    section = read_config_file(path, "pipeline")
    values = dict(section.values)

    def refuse(key: str, message: str, hint: str) -> ConfigurationError:
        place = section.places.get((key,))
        line = (place[0] if place else section.place).line
        return ConfigurationError(f"{section.path}:{line}: {message}", hint=hint)

    kind, runtime = values.pop("type", None), values.pop("runtime", "plain")
    values.pop("name", None)
    for key, value, known in (("type", kind, KINDS), ("runtime", runtime, RUNTIMES)):
        if value not in known:
            hint = f"There are: {', '.join(known)}."
            raise refuse(key, f"pipeline.{key} is {value!r}.", hint)
    known_names = names_of(kind)
    if "generator" in known_names:
        generator = read_config_file(path, "generator.sagellm")
        for problem in generator.problems():
            raise problem.error()
        values["generator"] = {"sagellm": dict(generator.values)}
    for key, value in values.items():
        if key not in known_names:
            near = difflib.get_close_matches(str(key), known_names, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known_names)}."
            raise refuse(key, f"a pipeline of type {kind} has no setting {key!r}.", hint)
        types = _SETTINGS[key].types
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise refuse(key, f"pipeline.{key} cannot be {value!r}.", comment_of(key))
    for name in known_names:
        if name not in values:
            raise refuse(name, f"pipeline.{name} is missing.", comment_of(name))
    if values["top_k"] < 1:
        raise refuse("top_k", f"pipeline.top_k is {values['top_k']}.", "It must be 1 or more.")
    return Plan(kind=kind, runtime=runtime, settings=values)
