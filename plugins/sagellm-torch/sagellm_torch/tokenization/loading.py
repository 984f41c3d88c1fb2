"""From a model's description to its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagellm_core.contract import ModelDescription, ModelFormat, Tokenizer

from .chat_template import ChatTemplate
from .missing import MissingTokenizer

if TYPE_CHECKING:
    from sagellm_torch.checkpoint.gguf.header import GGUFHeader
    from sagellm_torch.checkpoint.gguf.metadata import Metadata

#: Part of a cached tokenizer's key; to be raised when the conversion changes.
_CONVERSION = "sagellm-1"
_IDS = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
_TEMPLATE = "tokenizer.chat_template"


def load_tokenizer(description: ModelDescription, cache_dir: Path | None) -> Tokenizer:
    """The tokenizer of a model.

    A model without one still loads: the tokenizer returned then has a vocabulary size and
    raises :class:`TokenizerError` from everything else.

    :param cache_dir: where converted tokenizers may be kept; ``None``, missing or read-only:
        nothing is kept.
    :raises TokenizerError: the tokenizer's files are damaged, or of a kind that is not known.
    :raises ModelFormatError: the GGUF file is damaged.
    """
    path = description.path
    if path is None or description.format is ModelFormat.UNRESOLVED:
        return _nowhere(description)
    if description.format is ModelFormat.SAFETENSORS:
        from .directory import directory_tokenizer

        return directory_tokenizer(path, _vocab_size(description))
    from sagellm_torch.checkpoint.gguf.header import read_header

    return _from_gguf(read_header(path), cache_dir)


def _from_gguf(header: GGUFHeader, cache_dir: Path | None) -> Tokenizer:
    metadata = header.metadata
    embedding = header.tensors.get("token_embd.weight")
    rows = None if embedding is None else embedding.shape[0]
    if "tokenizer.ggml.model" not in metadata or "tokenizer.ggml.tokens" not in metadata:
        return MissingTokenizer(
            vocab_size=rows or 0,
            reason=f"{header.path} has no tokenizer.",
            hint="Pass prompt_token_ids, or convert the model again with its tokenizer.",
        )
    import tokenizers

    from .cache import TokenizerCache
    from .gguf_vocabulary import fingerprint
    from .tokenizer import FastTokenizer

    cache = TokenizerCache(cache_dir)
    key = fingerprint(metadata, (_CONVERSION, tokenizers.__version__))
    pipeline = cache.load(key)
    if pipeline is None:
        from .gguf_tokenizer import build_pipeline
        from .gguf_vocabulary import read_vocabulary

        pipeline = build_pipeline(read_vocabulary(header))
        cache.save(key, pipeline)
    return FastTokenizer(pipeline, vocab_size=rows, chat_template=_template(metadata, pipeline))


def _template(metadata: Metadata, pipeline: Any) -> ChatTemplate | None:
    sources = {
        key.removeprefix(f"{_TEMPLATE}."): metadata.string(key)
        for key in metadata
        if key.startswith(f"{_TEMPLATE}.")
    }
    if _TEMPLATE in metadata:
        sources["default"] = metadata.string(_TEMPLATE)
    if not sources:
        return None
    names = {}
    for role, name in _IDS.items():
        number = metadata.integer(f"tokenizer.ggml.{name}_token_id", -1)
        token = pipeline.id_to_token(number) if 0 <= number < 2**32 else None
        if token is not None:
            names[role] = token
    return ChatTemplate(sources, names)


def _vocab_size(description: ModelDescription) -> int | None:
    if description.vocab_size is not None:
        return description.vocab_size
    config: Mapping[str, Any] = description.config
    inner = config.get("text_config")
    size = (inner if isinstance(inner, Mapping) else config).get("vocab_size")
    return size if isinstance(size, int) and size > 0 else None


def _nowhere(description: ModelDescription) -> MissingTokenizer:
    return MissingTokenizer(
        vocab_size=description.vocab_size or 0,
        reason=f"{description.reference!r} was not resolved to any files.",
        hint="Pass a directory with safetensors files, or a .gguf file.",
    )
