"""vLLM's offline interface over sagellm: a script runs after changing one import.

>>> from sagellm_core.compat.vllm import LLM, SamplingParams
>>> llm = LLM(model="any", backend_type="mock")
>>> outputs = llm.generate(["Hello, my name is"], SamplingParams(temperature=0, max_tokens=4))
>>> len(outputs[0].outputs[0].token_ids)
4
>>> llm.shutdown()

Names, defaults and shapes are those of vLLM's public interface (docs.vllm.ai, "Offline
Inference"). A parameter of vLLM's is honoured, or has no effect on answers and is noted in
the log, or is refused with a typed error; ``docs/vllm.md`` lists which.
"""

from __future__ import annotations

TYPE_CHECKING = False

__all__ = [
    "LLM",
    "CompletionOutput",
    "EmbeddingOutput",
    "EmbeddingRequestOutput",
    "Logprob",
    "PromptType",
    "RequestOutput",
    "RequestOutputKind",
    "SamplingParams",
    "TextPrompt",
    "TokensPrompt",
]

_HOME = {
    "LLM": "llm",
    "CompletionOutput": "outputs",
    "EmbeddingOutput": "outputs",
    "EmbeddingRequestOutput": "outputs",
    "Logprob": "outputs",
    "RequestOutput": "outputs",
    "PromptType": "inputs",
    "TextPrompt": "inputs",
    "TokensPrompt": "inputs",
    "RequestOutputKind": "sampling_params",
    "SamplingParams": "sampling_params",
}

#: Names of vLLM's that have no counterpart here, with what to do instead.
_ABSENT = {
    "AsyncEngineArgs": "Use SageLLMGenerator.stream_async() of sagellm_core.",
    "AsyncLLMEngine": "Use SageLLMGenerator.stream_async() of sagellm_core.",
    "BeamSearchParams": "Beam search is not offered; use SamplingParams(n=...).",
    "EngineArgs": "Pass the arguments to LLM(...).",
    "GuidedDecodingParams": "Guided decoding is not offered.",
    "LLMEngine": "Use LLM, or SageLLMGenerator of sagellm_core.",
    "LoRARequest": "LoRA adapters are not offered; merge the adapter into the model.",
    "ModelRegistry": "Models are supported by providers; see docs/models.md.",
    "PoolingParams": "Call LLM.embed() without them, or use EmbeddingEngine of sagellm_core.",
    "StructuredOutputsParams": "Structured outputs are not offered.",
}

if TYPE_CHECKING:
    from .inputs import PromptType, TextPrompt, TokensPrompt
    from .llm import LLM
    from .outputs import (
        CompletionOutput,
        EmbeddingOutput,
        EmbeddingRequestOutput,
        Logprob,
        RequestOutput,
    )
    from .sampling_params import RequestOutputKind, SamplingParams


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        if name in _ABSENT:
            raise ImportError(f"sagellm_core.compat.vllm has no {name}. {_ABSENT[name]}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
