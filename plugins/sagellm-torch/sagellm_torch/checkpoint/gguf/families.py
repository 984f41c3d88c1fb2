"""What each supported GGUF architecture is called, holds and leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_ATTENTION = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
_MLP = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
_SANDWICH_NORMS = {
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_QK_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_GELU = {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture, as llama.cpp's converter writes it."""

    #: ``model_type`` and the class in a config.json.
    model_type: str
    architecture: str
    #: Parts of a block: the file's name -> the name below ``model.layers.N``.
    blocks: Mapping[str, str]
    #: Config fields that hold for the whole family.
    constants: Mapping[str, Any] = field(default_factory=lambda: {"hidden_act": "silu"})
    #: Rows of q and k were reordered so that a pair's two halves lie side by side.
    permuted: bool = False
    #: Norm weights were stored with one added.
    shifted_norms: bool = False


#: By ``general.architecture``.
FAMILIES = {
    "llama": Family("llama", "LlamaForCausalLM", _ATTENTION | _MLP | _NORMS, permuted=True),
    "qwen2": Family(
        "qwen2",
        "Qwen2ForCausalLM",
        _ATTENTION | _MLP | _NORMS,
        {"hidden_act": "silu", "use_sliding_window": False},
    ),
    "qwen3": Family(
        "qwen3",
        "Qwen3ForCausalLM",
        _ATTENTION | _MLP | _NORMS | _QK_NORMS,
        {"hidden_act": "silu", "use_sliding_window": False},
    ),
    "gemma": Family(
        "gemma", "GemmaForCausalLM", _ATTENTION | _MLP | _NORMS, _GELU, shifted_norms=True
    ),
    "gemma2": Family(
        "gemma2", "Gemma2ForCausalLM", _ATTENTION | _MLP | _SANDWICH_NORMS, _GELU,
        shifted_norms=True,
    ),
    "gemma3": Family(
        "gemma3_text", "Gemma3ForCausalLM", _ATTENTION | _MLP | _SANDWICH_NORMS | _QK_NORMS, _GELU,
        shifted_norms=True,
    ),
    "phi3": Family(
        "phi3",
        "Phi3ForCausalLM",
        {
            "attn_qkv": "self_attn.qkv_proj",
            "attn_output": "self_attn.o_proj",
            "ffn_up": "mlp.gate_up_proj",
            "ffn_down": "mlp.down_proj",
        }
        | _NORMS,
    ),
}  # fmt: skip
