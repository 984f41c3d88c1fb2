"""The tokenizer of a Hugging Face directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagellm_core.contract import ModelFormatError, Tokenizer, TokenizerError
from sagellm_torch.checkpoint.weight_files import read_json

from .chat_template import ChatTemplate
from .missing import MissingTokenizer
from .special_tokens import add_missing_tokens, named_tokens
from .template_files import template_sources
from .tokenizer import FastTokenizer

_PIPELINE = "tokenizer.json"
_ADD_JSON = (
    "Pass prompt_token_ids, or add tokenizer.json: load the tokenizer with transformers' "
    "AutoTokenizer and call its save_pretrained()."
)
#: Vocabularies that only another library can read.
_OTHER_KINDS = ("tokenizer.model", "spiece.model", "tekken.json", "vocab.json", "vocab.txt")


def directory_tokenizer(directory: Path, vocab_size: int | None) -> Tokenizer:
    """The tokenizer that ``tokenizer.json`` and the files beside it describe.

    What goes around a text is up to ``tokenizer.json``: ``add_bos_token`` of the configuration is
    for slow tokenizers, and does not agree with it in some published models. Without that file, a
    :class:`MissingTokenizer`.

    :param vocab_size: of the model, where known.
    :raises TokenizerError: ``tokenizer.json`` cannot be read.
    """
    path = directory / _PIPELINE
    if not path.is_file():
        return _missing(directory, vocab_size or 0)
    import tokenizers

    try:
        pipeline = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise TokenizerError(
            f"{path} could not be read: {error}.",
            hint="The file is damaged, or needs a newer `tokenizers`; fetch it again, or run "
            "pip install -U tokenizers.",
        ) from error
    config = _config(directory)
    names = named_tokens(config)
    add_missing_tokens(pipeline, config, names)
    sources = template_sources(directory, config)
    return FastTokenizer(
        pipeline,
        vocab_size=vocab_size,
        chat_template=ChatTemplate(sources, names) if sources else None,
    )


def _missing(directory: Path, vocab_size: int) -> MissingTokenizer:
    found = [name for name in _OTHER_KINDS if (directory / name).is_file()]
    reason = f"{directory} has no {_PIPELINE}" + (f", only {', '.join(found)}" if found else "")
    return MissingTokenizer(vocab_size=vocab_size, reason=f"{reason}.", hint=_ADD_JSON)


def _config(directory: Path) -> Mapping[str, Any]:
    merged: dict[str, Any] = {}
    # The older file first: where both say something, tokenizer_config.json is right.
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = directory / name
        if path.is_file():
            try:
                merged.update(read_json(path))
            except ModelFormatError as error:
                raise TokenizerError(error.message, hint=error.hint) from error
    return merged
