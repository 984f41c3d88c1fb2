"""Descriptions: what a model's headers say, without touching a weight."""

from __future__ import annotations

from typing import Any

from sagellm_core.contract.errors import ModelFormatError
from sagellm_core.contract.model import ModelDescription, ModelFormat

from .resolved import ResolvedModel


def describe_resolved(resolved: ResolvedModel) -> ModelDescription:
    """Describe the model that a reference led to.

    :raises ModelFormatError: files are truncated, corrupt, incomplete or foreign.
    :raises UnsafeModelError: the model wants its own code run, or has pickle weights only.
    :raises UnsupportedModelError: a file version or weight type that is unknown here.
    """
    if resolved.kind is ModelFormat.GGUF:
        return _describe_gguf(resolved)
    from .directory import describe_directory

    return describe_directory(resolved)


def _describe_gguf(resolved: ResolvedModel) -> ModelDescription:
    from .gguf import read_gguf_header

    header = read_gguf_header(resolved.path)
    metadata = header.metadata
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise ModelFormatError(
            f"{resolved.path} names no architecture (general.architecture).",
            hint="Convert the model again with a current llama.cpp.",
        )
    if not header.elements:
        raise ModelFormatError(
            f"{resolved.path} holds no weights (a vocabulary alone, perhaps).",
            hint="Pass a .gguf file with a whole model.",
        )
    vocabulary = metadata.get(f"{architecture}.vocab_size")
    if not _is_size(vocabulary):
        vocabulary = header.array_lengths.get("tokenizer.ggml.tokens")
    context = metadata.get(f"{architecture}.context_length")
    return ModelDescription(
        reference=resolved.reference,
        format=ModelFormat.GGUF,
        path=resolved.path,
        model_type=architecture,
        config=metadata,
        files=(resolved.path,),
        context_length=context if _is_size(context) else None,
        vocab_size=vocabulary,
        parameter_count=sum(header.elements.values()),
        weight_bytes=header.weight_bytes,
        weight_dtype=max(header.elements, key=lambda name: (header.elements[name], name)),
        revision=resolved.revision,
    )


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0
