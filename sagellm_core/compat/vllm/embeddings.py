"""Texts to vectors in vLLM's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sagellm_core.contract import UnsupportedOptionError

from .inputs import read_prompts
from .outputs import EmbeddingOutput, EmbeddingRequestOutput

if TYPE_CHECKING:
    from sagellm_core.embedding import EmbeddingEngine

#: Names of a generator's configuration and of an embedding engine's.
_EMBEDDING = {
    "model_path": "model_path",
    "backend_type": "backend_type",
    "provider_options": "provider_options",
    "allow_fallback": "allow_fallback",
    "disable_plugins": "disable_plugins",
    "cache_dir": "cache_dir",
    "dtype": "dtype",
    "quantization": "quantization",
    "max_model_len": "max_length",
}


def open_embedder(generator: Mapping[str, Any]) -> EmbeddingEngine:
    """A loaded engine for the model that a generator would have.

    :param generator: keyword arguments of :class:`~sagellm_core.SageLLMGenerator`.
    :raises SageLLMError: as :meth:`EmbeddingEngine.load`.
    """
    from sagellm_core.embedding import EmbeddingEngine

    engine = EmbeddingEngine(
        **{ours: generator[name] for name, ours in _EMBEDDING.items() if name in generator}
    )
    engine.load()
    return engine


def read_texts(prompts: Any) -> list[str]:
    """The texts of one call.

    :raises InvalidRequestError: a form that is not known.
    :raises UnsupportedOptionError: a prompt of token ids.
    """
    texts = []
    for index, prompt in enumerate(read_prompts(prompts)):
        if prompt.text is None or prompt.token_ids is not None:
            raise UnsupportedOptionError(
                f"Prompt {index} is given as token ids, and embeddings are made of texts.",
                hint="Pass the text.",
            )
        texts.append(prompt.text)
    return texts


def embed_texts(
    engine: EmbeddingEngine, texts: Sequence[str], *, first: int
) -> list[EmbeddingRequestOutput]:
    """Unit vectors of texts, in order.

    :param first: number of the first prompt among all of this :class:`LLM`.
    :raises SageLLMError: as :meth:`EmbeddingEngine.embed`.
    """
    vectors = engine.embed(texts, normalize=True)
    provider = dict(engine.provider)
    return [
        EmbeddingRequestOutput(
            str(first + row), EmbeddingOutput(vector.tolist()), provider=provider
        )
        for row, vector in enumerate(vectors)
    ]
