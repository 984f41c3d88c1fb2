"""vLLM's ``LLM``: a model, loaded when it is made, that answers batches of prompts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from sagellm_core.contract import (
    EngineClosedError,
    InvalidRequestError,
    NoProviderError,
    SageLLMError,
    UnsupportedModelError,
    UnsupportedOptionError,
)
from sagellm_core.generator import SageLLMGenerator
from sagellm_core.session import Session, open_session

from .arguments import read_arguments
from .batch import answer_prompts
from .defaults import recommended_sampling
from .embeddings import embed_texts, open_embedder, read_texts
from .inputs import (
    EncodedPrompt,
    encode,
    encode_conversation,
    read_conversations,
    read_prompts,
)
from .outputs import EmbeddingRequestOutput, RequestOutput
from .sampling_params import SamplingParams
from .tokenizer import ModelTokenizer

if TYPE_CHECKING:
    from sagellm_core.embedding import EmbeddingEngine

#: Methods of vLLM's that would give other answers, with what to do instead.
_ABSENT = {
    "apply_model": "Models live in providers; see docs/contract.md.",
    "beam_search": "Use SamplingParams(n=...).",
    "classify": "Classifiers are not offered.",
    "collective_rpc": "Models live in providers; see docs/contract.md.",
    "reward": "Reward models are not offered.",
    "score": "Use embed() and compare the vectors.",
    "set_tokenizer": "The model's own tokenizer is used; pass token ids instead of text.",
}


class _MissingMethodError(UnsupportedOptionError, AttributeError):
    """So that ``hasattr`` says no and a call says why."""


class LLM:
    """Answers batches of prompts with the best provider that is installed, or the named one.

    The arguments are vLLM's; ``docs/vllm.md`` says which are honoured, which have no effect on
    answers, and which are refused. ``backend_type``, ``provider_options``, ``allow_fallback``,
    ``disable_plugins`` and ``cache_dir`` are sagellm's own. Use it as a context manager, or call
    :meth:`shutdown`, to give the memory back before it is garbage.

    :param model: a model reference; see ``docs/models.md``.
    :param seed: what requests without a seed derive theirs from; ``None`` draws random ones.
    :raises UnsupportedOptionError: an argument that would change answers and is not offered.
    :raises SageLLMError: no provider, a bad model, too little memory, ...
    """

    def __init__(self, model: str, *, seed: int | None = 0, **arguments: Any) -> None:
        self._arguments = read_arguments(model, {"seed": seed, **arguments})
        generator = SageLLMGenerator(**self._arguments.generator)
        self._lock = threading.Lock()
        self._count = 0
        self._closed = False
        self._session: Session | None = None
        self._embedder: EmbeddingEngine | None = None
        if self._arguments.embeds:
            self._open_embedder()
            return
        try:
            self._session = open_session(generator.config)
        except (NoProviderError, UnsupportedModelError):
            # vLLM looks at the model to know what it is for; here providers say it.
            if self._arguments.generates or not self._only_embeds():
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    def __getattr__(self, name: str) -> NoReturn:
        if name in _ABSENT:
            raise _MissingMethodError(f"LLM.{name}() is not offered.", hint=_ABSENT[name])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def generate(
        self,
        prompts: Any = None,
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        prompt_token_ids: Any = None,
        use_tqdm: Any = True,
        lora_request: None = None,
        priority: Sequence[int] | None = None,
    ) -> list[RequestOutput]:
        """Continue prompts. They go to the model as they are; :meth:`chat` applies a template.

        :param prompts: a string, ``{"prompt": ...}``, ``{"prompt_token_ids": ...}``, a list of
            token ids, or a list of these.
        :param sampling_params: for all of them, or one for each; ``None``: what the model's
            generation_config.json recommends.
        :param use_tqdm: accepted; no bar is drawn.
        :param priority: accepted; all prompts of a call are computed together.
        :returns: in the order of the prompts.
        :raises InvalidRequestError: an input that cannot be right.
        :raises SageLLMError: whatever ended one of the prompts; the others are cancelled.
        """
        _refuse(lora_request=lora_request)
        session = self._ready()
        inputs = read_prompts(prompts, prompt_token_ids)
        params = self._params(sampling_params, len(inputs))
        tokenizer = session.engine.tokenizer
        encoded = [
            encode(prompt, tokenizer, one.truncate_prompt_tokens)
            for prompt, one in zip(inputs, params, strict=True)
        ]
        return self._run(encoded, params)

    def chat(
        self,
        messages: Any,
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: Any = True,
        lora_request: None = None,
        chat_template: None = None,
        chat_template_content_format: str = "auto",
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        mm_processor_kwargs: Mapping[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """Answer one conversation or several, through the model's own chat template.

        :param messages: ``[{"role": ..., "content": ...}, ...]``, or a list of such lists.
        :param chat_template_content_format: accepted; templates get text.
        :returns: in the order of the conversations; ``prompt`` is the rendered text.
        :raises UnsupportedOptionError: a template or template variables of one's own, or the
            continuation of the last message.
        :raises TokenizerError: the model has no chat template, or it refused the messages.
        """
        _refuse(
            lora_request=lora_request,
            chat_template=chat_template,
            continue_final_message=continue_final_message,
            chat_template_kwargs=chat_template_kwargs,
            mm_processor_kwargs=mm_processor_kwargs,
        )
        session = self._ready()
        conversations = read_conversations(messages)
        params = self._params(sampling_params, len(conversations))
        encoded = [
            encode_conversation(
                conversation,
                session.engine.tokenizer,
                tools=tools,
                add_generation_prompt=add_generation_prompt,
                keep_last=one.truncate_prompt_tokens,
            )
            for conversation, one in zip(conversations, params, strict=True)
        ]
        return self._run(encoded, params)

    def embed(
        self,
        prompts: Any,
        *,
        use_tqdm: Any = True,
        pooling_params: None = None,
        lora_request: None = None,
    ) -> list[EmbeddingRequestOutput]:
        """Vectors of texts, scaled to length 1.

        :param prompts: a string, ``{"prompt": ...}``, or a list of these; no token ids.
        :raises InvalidRequestError: an input that cannot be right.
        :raises SageLLMError: as :class:`~sagellm_core.EmbeddingEngine`.
        """
        _refuse(pooling_params=pooling_params, lora_request=lora_request)
        texts = read_texts(prompts)
        engine = self._open_embedder()
        return embed_texts(engine, texts, first=self._take_numbers(len(texts)))

    #: vLLM's older name for the same.
    encode = embed

    def get_tokenizer(self) -> ModelTokenizer:
        """The model's tokenizer, with the usual calls of transformers' ones."""
        return ModelTokenizer(self._ready().model)

    def get_default_sampling_params(self) -> SamplingParams:
        """What a call without sampling parameters uses; see :meth:`generate`."""
        return recommended_sampling(
            self._arguments.generation_config,
            self._ready().model.description.path,
            self._arguments.generation_overrides,
        )

    def shutdown(self) -> None:
        """End running requests and give the memory back. May be called twice."""
        with self._lock:
            self._closed = True
            session, self._session = self._session, None
            embedder, self._embedder = self._embedder, None
        try:
            if session is not None:
                session.close()
        finally:
            if embedder is not None:
                embedder.shutdown()

    def _ready(self) -> Session:
        session = self._session
        if session is not None:
            return session
        if self._closed:
            raise EngineClosedError("The LLM was shut down.", hint="Make a new LLM.")
        raise UnsupportedOptionError(
            "This LLM embeds, and generates no text.",
            hint="Use a model that generates, and leave task, runner and convert out.",
        )

    def _open_embedder(self) -> EmbeddingEngine:
        with self._lock:
            if self._closed:
                raise EngineClosedError("The LLM was shut down.", hint="Make a new LLM.")
            if self._embedder is None:
                self._embedder = open_embedder(self._arguments.generator)
            return self._embedder

    def _only_embeds(self) -> bool:
        try:
            self._open_embedder()
        except SageLLMError:
            return False
        return True

    def _params(
        self, given: SamplingParams | Sequence[SamplingParams] | None, count: int
    ) -> list[SamplingParams]:
        if given is None:
            given = self.get_default_sampling_params()
        rows: list[Any] = [given]
        if isinstance(given, SamplingParams):
            rows = [given] * count
        elif isinstance(given, (list, tuple)):
            rows = list(given)
        for row in rows:
            if not isinstance(row, SamplingParams):
                raise InvalidRequestError(
                    f"sampling_params is of type {type(row).__name__}.",
                    hint="Use SamplingParams of sagellm_core.compat.vllm.",
                )
            row.check()
        if len(rows) != count:
            raise InvalidRequestError(
                f"There are {count} prompts and {len(rows)} sampling parameters.",
                hint="Give one for all, or one for each prompt.",
            )
        return rows

    def _run(
        self, prompts: Sequence[EncodedPrompt], params: Sequence[SamplingParams]
    ) -> list[RequestOutput]:
        first = self._take_numbers(len(prompts))
        return answer_prompts(
            self._ready(), prompts, params, first=first, seed=self._arguments.seed
        )

    def _take_numbers(self, count: int) -> int:
        with self._lock:
            first = self._count
            self._count += count
        return first


def _refuse(**options: Any) -> None:
    for name, value in options.items():
        if value:
            raise UnsupportedOptionError(
                f"{name} is not offered.", hint="Leave it out; docs/vllm.md lists what is offered."
            )
