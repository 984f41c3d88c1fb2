"""From a prompt input to token ids."""

from __future__ import annotations

from .contract import InvalidRequestError, SageLLMError, Tokenizer, TokenizerError
from .inputs import PromptInput
from .options import PromptFormat
from .providers.fault import named


def encode_prompt(
    prompt: PromptInput,
    tokenizer: Tokenizer,
    prompt_format: PromptFormat = "auto",
    system_prompt: str | None = None,
) -> tuple[int, ...]:
    """Token ids of a prompt.

    A string is one user message through the chat template where the model has one (``auto``),
    must be one (``chat``), or goes in as it is, with the tokens the model wants around a plain
    text (``raw``).

    :raises TokenizerError: ``chat``, or messages, with a model that has no chat template; or the
        provider's tokenizer failed.
    :raises InvalidRequestError: ``raw`` with messages or a system prompt.
    """
    if prompt.token_ids is not None:
        return prompt.token_ids
    try:
        return _encode(prompt, tokenizer, prompt_format, system_prompt)
    except (SageLLMError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise TokenizerError(
            f"The provider's tokenizer failed with {named(error)}.",
            hint="This is a defect of the model's tokenizer or of the provider's plugin; pass "
            "prompt_token_ids to do without it.",
        ) from error


def _encode(
    prompt: PromptInput,
    tokenizer: Tokenizer,
    prompt_format: PromptFormat,
    system_prompt: str | None,
) -> tuple[int, ...]:
    if prompt_format == "raw":
        if prompt.messages is not None:
            raise InvalidRequestError(
                'Chat messages cannot be sent with prompt_format="raw".',
                hint='Leave prompt_format at "auto", or pass the prompt as one string.',
            )
        if system_prompt is not None:
            raise InvalidRequestError(
                'A system prompt cannot be combined with prompt_format="raw".',
                hint="Write it into the prompt itself.",
            )
        return _plain(prompt, tokenizer)
    if prompt_format == "auto" and prompt.messages is None and system_prompt is None:
        if not tokenizer.has_chat_template:
            return _plain(prompt, tokenizer)
    elif not tokenizer.has_chat_template:
        raise TokenizerError(
            "The model has no chat template.",
            hint='Pass a plain string with prompt_format="raw", or use an instruction-tuned model.',
        )
    messages = list(prompt.messages or ({"role": "user", "content": prompt.text or ""},))
    if system_prompt is not None and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system_prompt})
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    # The template writes BOS and the rest itself; adding them again would double them.
    return tuple(tokenizer.encode(text, add_special_tokens=False))


def _plain(prompt: PromptInput, tokenizer: Tokenizer) -> tuple[int, ...]:
    return tuple(tokenizer.encode(prompt.text or "", add_special_tokens=True))
