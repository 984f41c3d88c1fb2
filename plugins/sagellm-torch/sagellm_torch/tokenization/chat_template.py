"""Chat templates: jinja2 in a sandbox, with the functions that published templates use.

The conventions (block trimming, ``raise_exception``, ``strftime_now``, unescaped ``tojson``, loop
controls, the ``generation`` tag) are those of Hugging Face's chat templates.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sagellm_core.contract import TokenizerError

if TYPE_CHECKING:
    from jinja2 import Template

_HINT = 'Change the messages, or pass a prompt with prompt_format="raw".'


class ChatTemplate:
    """The template, or named templates, of one model. Safe to use from several threads.

    :param sources: template texts by name; the one used is ``default``, or ``tool_use`` where
        that exists and tools are given.
    :param special_tokens: what the templates see as ``bos_token``, ``eos_token``, ...
    """

    def __init__(self, sources: Mapping[str, str], special_tokens: Mapping[str, str]) -> None:
        self._sources = dict(sources)
        self._special_tokens = dict(special_tokens)
        self._compiled: dict[str, Template] = {}
        self._lock = threading.Lock()

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None,
        add_generation_prompt: bool,
    ) -> str:
        """The prompt text of a conversation.

        :raises TokenizerError: the template does not compile, refused the messages, failed, or
            ran past the limits of its sandbox.
        """
        name = "tool_use" if tools and "tool_use" in self._sources else "default"
        template = self._template(name)
        from jinja2 import TemplateError

        from .sandbox import rendered

        try:
            values = {
                **self._special_tokens,
                # Copies: a template sees plain data, and nothing that belongs to the caller.
                "messages": [_plain(message) for message in messages],
                "tools": None if tools is None else [_plain(tool) for tool in tools],
                "documents": None,
                "add_generation_prompt": add_generation_prompt,
            }
            return rendered(template, values)
        except TokenizerError:
            raise
        except TemplateError as error:
            raise TokenizerError(
                f"The model's chat template refused the messages: {error.message or error}.",
                hint=_HINT,
            ) from error
        except Exception as error:
            # The template is a program of the model's author; any of its failures is one kind
            # of error here, and the cause is kept.
            raise TokenizerError(
                f"The model's chat template failed with {type(error).__name__}: {error}.",
                hint=_HINT,
            ) from error

    def _template(self, name: str) -> Template:
        with self._lock:
            compiled = self._compiled.get(name)
            if compiled is None:
                compiled = self._compiled[name] = self._compile(name)
            return compiled

    def _compile(self, name: str) -> Template:
        from jinja2 import TemplateError

        from .sandbox import environment

        source = self._sources.get(name)
        if source is None:
            raise TokenizerError(
                f"The model has chat templates named {', '.join(sorted(self._sources))}, and "
                f"none named {name}.",
                hint='Pass prompts with prompt_format="raw".',
            )
        try:
            return environment().from_string(source)
        except (TemplateError, RecursionError) as error:
            raise TokenizerError(
                f"The model's chat template does not compile: {error}.",
                hint='Repair it, or pass prompts with prompt_format="raw".',
            ) from error


def _plain(value: Any) -> Any:
    """``value`` as plain data; a template sees no objects whose methods could do things."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    # Of an enum or another subclass, the value alone.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TokenizerError(
        f"A chat message holds a {type(value).__name__}, which no template can show.",
        hint="Messages hold strings, numbers, booleans, None, lists and mappings.",
    )
