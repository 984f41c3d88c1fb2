"""The forms in which vLLM takes prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from sagellm_core.contract import (
    InvalidRequestError,
    SageLLMError,
    Tokenizer,
    TokenizerError,
    UnsupportedOptionError,
)
from sagellm_core.inputs import PromptInput, read_input
from sagellm_core.prompting import encode_prompt
from sagellm_core.providers.fault import named

_FORMS = (
    'Use a string, {"prompt": "..."}, {"prompt_token_ids": [...]}, a list of token ids, or a '
    "list of these."
)


class TextPrompt(TypedDict):
    """A prompt of text."""

    prompt: str


class TokensPrompt(TypedDict):
    """A prompt of token ids; ``prompt`` is only handed back."""

    prompt_token_ids: list[int]
    prompt: NotRequired[str]


PromptType = str | TextPrompt | TokensPrompt | list[int]


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the engine takes it."""

    text: str | None
    token_ids: tuple[int, ...]


def read_prompts(prompts: Any, prompt_token_ids: Any = None) -> list[PromptInput]:
    """The prompts of one call, in order.

    :param prompt_token_ids: the older way to pass token ids: one list, or one for each prompt.
    :raises InvalidRequestError: a form that is not known.
    :raises UnsupportedOptionError: images, audio, embeddings or an encoder's prompt.
    """
    if prompt_token_ids is not None:
        return _with_token_ids(prompts, prompt_token_ids)
    if isinstance(prompts, (str, Mapping)) or _is_token_ids(prompts):
        prompts = [prompts]
    if not isinstance(prompts, Sequence) or isinstance(prompts, (bytes, bytearray)):
        raise InvalidRequestError(
            f"Prompts cannot be of type {type(prompts).__name__}.", hint=_FORMS
        )
    return [_read(prompt, f"Prompt {index}") for index, prompt in enumerate(prompts)]


def _with_token_ids(prompts: Any, prompt_token_ids: Any) -> list[PromptInput]:
    rows = [prompt_token_ids] if _is_token_ids(prompt_token_ids) else prompt_token_ids
    if not isinstance(rows, (list, tuple)):
        raise InvalidRequestError(
            f"prompt_token_ids is of type {type(rows).__name__}.",
            hint="Pass a list of token ids, or a list of such lists.",
        )
    if prompts is None:
        texts: Sequence[Any] = [None] * len(rows)
    elif isinstance(prompts, (list, tuple)):
        texts = prompts
    else:
        texts = [prompts]
    if len(texts) != len(rows):
        raise InvalidRequestError(
            f"There are {len(texts)} prompts and {len(rows)} lists of prompt_token_ids.",
            hint="Pass as many of one as of the other, or leave the prompts out.",
        )
    return [
        _read({"prompt_token_ids": row, "prompt": text}, f"Prompt {index}")
        for index, (text, row) in enumerate(zip(texts, rows, strict=True))
    ]


def _is_token_ids(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(item, int) and not isinstance(item, bool) for item in value)
    )


def _read(prompt: Any, name: str) -> PromptInput:
    if isinstance(prompt, str):
        return PromptInput(text=prompt)
    if isinstance(prompt, (list, tuple)) and not isinstance(prompt, str):
        prompt = {"prompt_token_ids": prompt}
    if not isinstance(prompt, Mapping):
        raise InvalidRequestError(f"{name} is of type {type(prompt).__name__}.", hint=_FORMS)
    for key, value in prompt.items():
        # cache_salt only separates prefix caches of several users.
        if key not in ("prompt", "prompt_token_ids", "cache_salt") and value is not None:
            raise UnsupportedOptionError(
                f"{name} has {key!r}, and prompts are text or token ids only.",
                hint="Leave it out, or use a model and a library that take it.",
            )
    text = prompt.get("prompt")
    if text is not None and not isinstance(text, str):
        raise InvalidRequestError(f"{name} has a prompt that is not a string.", hint=_FORMS)
    if prompt.get("prompt_token_ids") is not None:
        try:
            ids = read_input({"prompt_token_ids": prompt["prompt_token_ids"]}).token_ids
        except InvalidRequestError as error:
            raise type(error)(f"{name}: {error.message}", hint=error.hint) from None
        return PromptInput(text=text, token_ids=ids)
    if text is None:
        raise InvalidRequestError(f"{name} has neither text nor token ids.", hint=_FORMS)
    return PromptInput(text=text)


def encode(prompt: PromptInput, tokenizer: Tokenizer, keep_last: int | None) -> EncodedPrompt:
    """Token ids of a prompt as it is: no chat template is applied.

    :param keep_last: keep so many tokens of its end.
    :raises TokenizerError: the provider's tokenizer failed.
    """
    ids = encode_prompt(prompt, tokenizer, "raw")
    return EncodedPrompt(prompt.text, ids if keep_last is None else ids[-keep_last:])


def read_conversations(messages: Any) -> list[tuple[Mapping[str, Any], ...]]:
    """One conversation or several, as ``LLM.chat`` takes them.

    :raises InvalidRequestError: neither; or a part that is not text.
    """
    several = (
        isinstance(messages, (list, tuple))
        and bool(messages)
        and isinstance(messages[0], (list, tuple))
    )
    rows = messages if several else [messages]
    conversations = []
    for index, row in enumerate(rows):
        if not isinstance(row, (list, tuple)):
            raise InvalidRequestError(
                f"Conversation {index} is of type {type(row).__name__}.",
                hint='Pass [{"role": "user", "content": "..."}], or a list of such lists.',
            )
        found = read_input({"messages": row}).messages
        assert found is not None  # a list under "messages" can be nothing else
        conversations.append(found)
    return conversations


def encode_conversation(
    messages: Sequence[Mapping[str, Any]],
    tokenizer: Tokenizer,
    *,
    tools: Sequence[Mapping[str, Any]] | None,
    add_generation_prompt: bool,
    keep_last: int | None,
) -> EncodedPrompt:
    """A conversation through the model's chat template.

    :raises TokenizerError: there is no template, or it refused the messages.
    """
    try:
        text = tokenizer.apply_chat_template(
            messages, tools=tools, add_generation_prompt=add_generation_prompt
        )
        # The template writes BOS and the rest itself; adding them again would double them.
        ids = tuple(tokenizer.encode(text, add_special_tokens=False))
    except (SageLLMError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise TokenizerError(
            f"The provider's tokenizer failed with {named(error)}.",
            hint="This is a defect of the model's chat template or of the provider's plugin.",
        ) from error
    return EncodedPrompt(text, ids if keep_last is None else ids[-keep_last:])
