"""How a published model wants its texts embedded. Imports no torch.

A directory in the layout of sentence-transformers says it in ``modules.json`` and the files
that it leads to; https://sbert.net/docs/package_reference/sentence_transformer/modules.html
describes them. Both spellings of the pooling are read, the one before version 5 and the one
since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagellm_core.contract import (
    ModelDescription,
    ModelFormat,
    ModelFormatError,
    UnsupportedModelError,
)
from sagellm_torch.checkpoint.weight_files import read_json, read_json_list

from .dense_config import DenseConfig, read_dense
from .pooling_config import read_pooling
from .prompts import read_prompts
from .transformer_config import read_transformer

#: What ``modules.json`` may name, by the last part of each type's dotted name.
_KNOWN = ("Transformer", "Pooling", "Dense", "Normalize", "Dropout")
_HINT = "Use another model, or sentence-transformers for this one."
#: ``<architecture>.pooling_type`` of a GGUF (enum llama_pooling_type of llama.cpp).
_GGUF_POOLING = {1: "mean", 2: "cls", 3: "last"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """From token vectors to a text's vector, as the model's files say."""

    #: ``mean``, ``last``, ``cls`` or ``max``.
    pooling: str
    #: Scale vectors to length 1.
    normalize: bool = False
    #: Cut texts to so many tokens; ``None``: to what the model can take.
    max_length: int | None = None
    #: Cut the front of a text that is too long, and not its end.
    cut_front: bool = False
    #: Lower the case of texts before they are tokenised.
    lower_case: bool = False
    #: Text to put before an input, by name; ``""``: before one that asks for none.
    prompts: Mapping[str, str] = field(default_factory=dict)
    #: Layers that the pooled vector goes through.
    dense: tuple[DenseConfig, ...] = ()


def read_recipe(description: ModelDescription, *, default_pooling: str) -> Recipe:
    """The recipe of a model; a plain one where its files say nothing.

    :param default_pooling: of a model that names none.
    :raises UnsupportedModelError: a module, a pooling or an activation that is not computed.
    :raises ModelFormatError: a file is missing, damaged, or contradicts another.
    """
    path = description.path
    if path is None or description.format is not ModelFormat.SAFETENSORS:
        return Recipe(pooling=_gguf_pooling(description) or default_pooling)
    tokens = _optional(path / "tokenizer_config.json")
    cut_front = tokens.get("truncation_side") == "left"
    limit = _limit(tokens.get("model_max_length"))
    if not (path / "modules.json").is_file():
        return Recipe(pooling=default_pooling, max_length=limit, cut_front=cut_front)
    modules = _modules(path)
    kinds = [kind for kind, _ in modules]
    _check_order(path, kinds)
    folders = dict(modules)
    if folders["Transformer"] != path:
        raise UnsupportedModelError(
            f"{path / 'modules.json'} has the model itself in {folders['Transformer'].name!r}.",
            hint="Pass a directory whose config.json lies beside modules.json.",
        )
    transformer = read_transformer(path)
    prompts = read_prompts(path)
    return Recipe(
        pooling=read_pooling(folders["Pooling"] / "config.json", has_prompts=any(prompts.values())),
        normalize="Normalize" in kinds,
        max_length=transformer.max_length or limit,
        cut_front=cut_front,
        lower_case=transformer.lower_case,
        prompts=prompts,
        dense=tuple(read_dense(folder) for kind, folder in modules if kind == "Dense"),
    )


def _modules(path: Path) -> list[tuple[str, Path]]:
    """Kind and folder of each module, in order."""
    file = path / "modules.json"
    found: list[tuple[str, Path]] = []
    for entry in read_json_list(file):
        named = entry.get("type") if isinstance(entry, Mapping) else None
        folder = entry.get("path", "") if isinstance(entry, Mapping) else None
        if not isinstance(named, str) or not isinstance(folder, str):
            raise ModelFormatError(
                f"{file} has an entry without a type or path: {str(entry)[:80]}.",
                hint="Fetch the model again.",
            )
        kind = named.rpartition(".")[2]
        if not named.startswith("sentence_transformers.") or kind not in _KNOWN:
            raise UnsupportedModelError(
                f"{file} has a module of type {named!r}, which is not supported.",
                hint=f"Supported are {', '.join(_KNOWN)}. {_HINT}",
            )
        parts = Path(folder).parts
        if Path(folder).is_absolute() or ".." in parts:
            raise ModelFormatError(
                f"{file} leads out of the model's directory: {folder!r}.",
                hint="Fetch the model again from a source that you trust.",
            )
        found.append((kind, path / folder))
    return [each for each in found if each[0] != "Dropout"]  # does nothing after training


def _check_order(path: Path, kinds: list[str]) -> None:
    middle = kinds[2:-1] if kinds[-1:] == ["Normalize"] else kinds[2:]
    if kinds[:2] == ["Transformer", "Pooling"] and set(middle) <= {"Dense"}:
        return
    raise UnsupportedModelError(
        f"{path / 'modules.json'} chains {', '.join(kinds) or 'no modules'}.",
        hint=f"Supported is Transformer, Pooling, Dense (or several), Normalize. {_HINT}",
    )


def _gguf_pooling(description: ModelDescription) -> str | None:
    key = f"{description.model_type}.pooling_type"
    value = description.config.get(key)
    if value is None or value == 0:
        return None
    if value not in _GGUF_POOLING:
        raise UnsupportedModelError(
            f"{description.reference!r} has {key}={value!r}, which is no pooling that embeds.",
            hint="Use another file.",
        )
    return _GGUF_POOLING[value]


def _optional(file: Path) -> Mapping[str, Any]:
    return read_json(file) if file.is_file() else {}


def _limit(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # "No limit" is written as a number near 10**30.
    return int(value) if 1 <= value < 2**31 else None
