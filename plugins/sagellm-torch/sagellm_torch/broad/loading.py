"""Loading a model through transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sagellm_core.contract import (
    ConfigurationError,
    ModelDescription,
    ModelFormatError,
    UnsupportedModelError,
)
from sagellm_torch.adapter import DeviceAdapter

from .config import BroadConfig
from .decoder import BroadDecoder
from .families import slides
from .linears import linear_classes, replace_linears
from .paged_pass import ATTENTION_NAME, register
from .survey import Survey, survey

#: Buffers that old checkpoints of GPT-2 and of rotary models carry and newer code computes.
_COMPUTED = (".attn.bias", ".attn.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


def load_broad_decoder(
    description: ModelDescription, adapter: DeviceAdapter, dtype: torch.dtype
) -> BroadDecoder:
    """Read a model's safetensors into transformers' modelling code, and prepare it for paging.

    :param description: of a type that :func:`~.families.is_broad`, found complete and
        unquantised already.
    :raises ConfigurationError: transformers is not installed, or does not know the model type.
    :raises ModelFormatError: tensors are missing, left over, or of a wrong shape.
    :raises UnsupportedModelError: its attention cannot be paged.
    """
    assert description.path is not None, "the checkpoint was opened"
    _check_installed(description.model_type)
    register()
    model = _read(description.path, dtype).to(adapter.device)
    found = survey(model, linear_classes(), f"{description.reference!r}")
    _check_windows(model.config, found, description)
    embedding = model.get_input_embeddings().weight
    replace_linears(model, found.siblings, adapter, shared={id(embedding)})
    return BroadDecoder(_config(description, model, found), model, found.layers, adapter)


def _check_installed(model_type: str) -> None:
    try:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    except ImportError as error:
        raise ConfigurationError(
            f"A {model_type!r} model runs through transformers, which is not installed: {error}.",
            hint="pip install 'sagellm-torch[broad]'",
        ) from error
    if model_type not in CONFIG_MAPPING:
        from transformers import __version__

        raise ConfigurationError(
            f"transformers {__version__} does not know the model type {model_type!r}.",
            hint="pip install -U 'sagellm-torch[broad]'",
        )


def _read(path: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    # Its annotations leave out what output_loading_info changes.
    read: Any = AutoModelForCausalLM.from_pretrained
    with _no_progress_bar():
        model, info = read(
            path,
            dtype=dtype,
            attn_implementation=ATTENTION_NAME,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    left = [name for name in info["unexpected_keys"] if not name.endswith(_COMPUTED)]
    for problem, names in (
        ("lacks tensors that its config.json asks for", info["missing_keys"]),
        ("has tensors that its config.json has no place for", left),
        ("has tensors of other shapes than its config.json says", info["mismatched_keys"]),
    ):
        if names:
            shown = sorted(str(name) for name in names)
            raise ModelFormatError(
                f"{path} {problem}: {', '.join(shown[:3])}{', ...' if len(shown) > 3 else ''} "
                f"({len(shown)}).",
                hint="Use the config.json that was published with the weights, or fetch the model "
                "again.",
            )
    return model.eval().requires_grad_(False)


def _check_windows(config: Any, found: Survey, description: ModelDescription) -> None:
    """Refuse a model whose code keeps its sliding window in a mask, which is not asked for."""
    if not slides(config.to_dict()):
        return
    windows = [layer.attention.sliding_window for layer in found.layers.values()]
    listed = getattr(config, "layer_types", None) or ["sliding_attention"] * len(windows)
    for index, (kind, window) in enumerate(zip(listed, windows, strict=False)):
        if kind == "sliding_attention" and window is None:
            raise UnsupportedModelError(
                f"Layer {index} of {description.reference!r} ({description.model_type!r}) has a "
                f"window of {config.sliding_window} tokens that its modelling code does not pass "
                "to attention.",
                hint="It would give wrong results without it; use another model.",
            )


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging as shown_by

    logging: Any = shown_by
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _config(description: ModelDescription, model: nn.Module, found: Survey) -> BroadConfig:
    config: Any = model.config
    attention = next(iter(found.layers.values())).attention
    return BroadConfig(
        model_type=description.model_type,
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        num_layers=len(found.layers),
        num_kv_heads=attention.num_kv_heads,
        head_dim=attention.head_dim,
        max_position_embeddings=config.max_position_embeddings,
    )
