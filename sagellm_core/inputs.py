"""The forms in which a prompt comes in, made into one.

Pipelines hand over strings, dicts, pairs and conversations; :func:`read_input` knows each form
and refuses, by name, what is none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .contract import EmptyPromptError, InvalidRequestError

_FORMS = (
    'Use a string, {"prompt": ..., "options": ...}, {"query": ...}, {"messages": [...]}, '
    "[context, prompt], [context, prompt, options], or a list of chat messages."
)
#: Lists of one item may lie in each other this deep; deeper ones, or one inside itself, are a
#: slip.
_DEEPEST = 16
#: Keys of a dict input that are not context.
_OWN_KEYS = ("prompt", "messages", "prompt_token_ids", "options")


@dataclass(frozen=True, slots=True)
class PromptInput:
    """One prompt: exactly one of ``text``, ``messages`` and ``token_ids`` is set."""

    text: str | None = None
    messages: tuple[Mapping[str, str], ...] | None = None
    token_ids: tuple[int, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    #: What came along with the prompt and is handed back with the answer; ``None``: nothing.
    context: Any = None


def read_input(data: Any) -> PromptInput:
    """Read any of the forms that SAGE pipelines use.

    :raises EmptyPromptError: there is a prompt, and it is empty.
    :raises InvalidRequestError: the form is not known, or ambiguous.
    """
    if isinstance(data, str):
        return _from_text(data)
    if isinstance(data, Mapping):
        return _from_mapping(data)
    if isinstance(data, (list, tuple)):
        return _from_sequence(data)
    raise InvalidRequestError(f"A prompt cannot be of type {type(data).__name__}.", hint=_FORMS)


def _from_text(text: str) -> PromptInput:
    if not text.strip():
        raise EmptyPromptError(
            "The prompt is empty.", hint="Pass at least one character that is not white space."
        )
    return PromptInput(text=text)


def _from_mapping(data: Mapping[Any, Any]) -> PromptInput:
    sources = [key for key in ("prompt", "messages", "prompt_token_ids") if key in data]
    if len(sources) > 1:
        raise InvalidRequestError(
            f"The input has both {sources[0]!r} and {sources[1]!r}.", hint="Keep one of them."
        )
    if not sources and "query" in data:
        sources = ["query"]
    if not sources:
        keys = ", ".join(repr(key) for key in list(data)[:8]) or "no keys"
        raise InvalidRequestError(f"A dict with {keys} has no prompt.", hint=_FORMS)
    source = sources[0]
    value = data[source]
    if source == "prompt_token_ids":
        prompt = _from_token_ids(value)
    elif isinstance(value, str):
        prompt = _from_text(value)
    elif isinstance(value, (list, tuple)) and (source == "messages" or _all_messages(value)):
        prompt = _from_messages(value)
    else:
        raise InvalidRequestError(
            f"{source!r} is of type {type(value).__name__}.",
            hint="It must be a string or a list of chat messages.",
        )
    context = {key: item for key, item in data.items() if key not in _OWN_KEYS}
    return PromptInput(
        prompt.text,
        prompt.messages,
        prompt.token_ids,
        _options(data.get("options")),
        context or None,
    )


def _from_sequence(data: Sequence[Any]) -> PromptInput:
    for _ in range(_DEEPEST):
        if len(data) != 1 or not isinstance(data[0], (list, tuple)):
            break
        data = data[0]
    else:
        raise InvalidRequestError(
            f"The input is a list in a list, more than {_DEEPEST} deep.", hint=_FORMS
        )
    if not data:
        raise EmptyPromptError("The input is an empty list.", hint=_FORMS)
    if _all_messages(data):
        return _from_messages(data)
    if len(data) == 1:
        return read_input(data[0])
    if len(data) > 3:
        raise InvalidRequestError(
            f"A list of {len(data)} items is not one prompt.",
            hint="Use execute_batch() for several prompts.",
        )
    context, body = data[0], data[1]
    if not isinstance(body, (str, Mapping, list, tuple)):
        raise InvalidRequestError(
            f"The second item, where the prompt belongs, is of type {type(body).__name__}.",
            hint=_FORMS,
        )
    if isinstance(body, (list, tuple)) and not _all_messages(body):
        raise InvalidRequestError(
            "The second item is a list that is not a conversation.",
            hint='Each message needs a "role" and a "content".',
        )
    prompt = read_input(body)
    options = dict(prompt.options)
    if len(data) == 3:
        if not isinstance(data[2], Mapping):
            raise InvalidRequestError(
                f"The third item is of type {type(data[2]).__name__}, not an options dict.",
                hint="Use execute_batch() for several prompts.",
            )
        options |= _options(data[2])
    # What stands beside the prompt in its own dict is kept too, next to the first item.
    if isinstance(context, Mapping) and isinstance(prompt.context, Mapping):
        context = {**context, **prompt.context}
    elif context is None:
        context = prompt.context
    return PromptInput(prompt.text, prompt.messages, prompt.token_ids, options, context)


def _options(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequestError(
            f"options is of type {type(value).__name__}, not a mapping.",
            hint='Write them as in {"max_tokens": 64, "temperature": 0}.',
        )
    return dict(value)


def _all_messages(items: Sequence[Any]) -> bool:
    return bool(items) and all(isinstance(item, Mapping) and "role" in item for item in items)


def _from_messages(items: Sequence[Any]) -> PromptInput:
    if not items:
        raise EmptyPromptError(
            "The conversation has no messages.", hint='Add at least {"role": "user", ...}.'
        )
    messages = tuple(_message(item, number) for number, item in enumerate(items))
    if not any(message["content"].strip() for message in messages if message["role"] != "system"):
        raise EmptyPromptError(
            "Every message of the conversation is empty.", hint="Write a message to answer."
        )
    return PromptInput(messages=messages)


def _message(item: Any, number: int) -> dict[str, str]:
    role = item.get("role") if isinstance(item, Mapping) else None
    if not isinstance(role, str) or not role:
        raise InvalidRequestError(
            f"Message {number} of the conversation has no role.",
            hint='Each message needs a "role" and a "content".',
        )
    content = item.get("content")
    if isinstance(content, (list, tuple)):
        content = "".join(_text_part(part, number) for part in content)
    if not isinstance(content, str):
        raise InvalidRequestError(
            f"The content of message {number} is of type {type(content).__name__}.",
            hint="content must be a string.",
        )
    return {**item, "content": content}


def _text_part(part: Any, number: int) -> str:
    # The parts of a message in OpenAI's chat format; text is the only kind a text model takes.
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type") == "text":
        text = part.get("text")
        if isinstance(text, str):
            return text
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise InvalidRequestError(
        f"Message {number} has a part of type {kind!r}.", hint="Only text parts are supported."
    )


def _from_token_ids(value: Any) -> PromptInput:
    if not isinstance(value, (list, tuple)) or any(
        isinstance(item, bool) or not isinstance(item, int) or item < 0 for item in value
    ):
        raise InvalidRequestError(
            "prompt_token_ids is not a list of token ids.",
            hint="Pass integers of at least 0.",
        )
    if not value:
        raise EmptyPromptError("prompt_token_ids is empty.", hint="Pass at least one token.")
    return PromptInput(token_ids=tuple(value))
