"""What ``sentence_bert_config.json`` says about the way into the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sagellm_core.contract import UnsupportedModelError
from sagellm_torch.architecture.config_fields import ConfigFields
from sagellm_torch.checkpoint.weight_files import read_json

#: The name, and what it was called for some families.
_FILES = tuple(
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_HINT = "Use another model, or sentence-transformers for this one."


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """How texts go into the model."""

    max_length: int | None = None
    lower_case: bool = False


def read_transformer(directory: Path) -> TransformerConfig:
    """Of the first file that is there.

    :raises UnsupportedModelError: it takes something other than texts, or gives something
        other than token vectors.
    """
    file = next((directory / name for name in _FILES if (directory / name).is_file()), None)
    if file is None:
        return TransformerConfig()
    config = read_json(file)
    task = config.get("transformer_task", "feature-extraction")
    inputs = config.get("modality_config", {"text": {}})
    if task != "feature-extraction" or not isinstance(inputs, Mapping) or "text" not in inputs:
        raise UnsupportedModelError(
            f"{file} is for transformer_task={task!r} with modality_config={str(inputs)[:80]}.",
            hint=_HINT,
        )
    text = inputs["text"]
    name = text.get("method_output_name") if isinstance(text, Mapping) else None
    for key, value in (
        ("method_output_name", name or "last_hidden_state"),
        ("module_output_name", config.get("module_output_name") or "token_embeddings"),
        ("processing_kwargs", config.get("processing_kwargs") or {}),
    ):
        if value not in ("last_hidden_state", "token_embeddings", {}):
            raise UnsupportedModelError(
                f"{file} has {key}={str(value)[:80]!r}, which is not supported.", hint=_HINT
            )
    fields = ConfigFields(config, where=file.name)
    return TransformerConfig(
        max_length=fields.optional_integer("max_seq_length"),
        lower_case=fields.flag("do_lower_case", False),
    )
