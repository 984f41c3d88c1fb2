"""Which peers there are, and with which weights each is run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """One row of the comparison."""

    #: As on the command line.
    name: str
    #: What its weights are, as in the table.
    weights: str
    #: Module of this package that speaks for it.
    module: str
    #: Pinned; empty for sagellm, which runs in this environment.
    requirements: tuple[str, ...] = ()
    #: See :func:`.weights.converted`; ``None``: the model's own file.
    form: str | None = None
    #: Passed to sagellm at load.
    quantization: str = ""


_TRANSFORMERS = ("transformers==5.23.0", "accelerate", "gguf", "torch")
LLAMA_CPP = ("llama-cpp-python==0.3.36",)
# openvino's next patch release renames the library that openvino-genai links.
_OPENVINO = ("openvino-genai==2026.4.0.0", "openvino==2026.4.0")

PEERS = (
    Peer("transformers", "fp32", "transformers_peer", _TRANSFORMERS, "safetensors"),
    Peer("openvino", "F16", "openvino_peer", _OPENVINO, "F16"),
    Peer("openvino", "Q8_0", "openvino_peer", _OPENVINO, "Q8_0"),
    Peer("llama.cpp", "Q8_0", "llama_cpp_peer", LLAMA_CPP, "Q8_0"),
    Peer("llama.cpp", "Q4_0", "llama_cpp_peer", LLAMA_CPP, "Q4_0"),
)
NAMES = tuple(dict.fromkeys(peer.name for peer in PEERS))


def ours(quantization: str) -> Peer:
    """sagellm with one of its quantisations; ``none`` computes in float32."""
    weights = "fp32" if quantization == "none" else quantization
    return Peer("sagellm", weights, "sagellm_peer", quantization=quantization)
