"""Answers written beforehand: prompt -> reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from sagellm_core.contract import ConfigurationError

from .tokenizer import MockTokenizer
from .vocabulary import END, USER

#: The key whose reply serves every other prompt.
DEFAULT_KEY = "*"

_FORM = 'A script is a mapping of prompt to reply, both strings, as in  "2+2?": "4".'
_STRING_TAG = "tag:yaml.org,2002:str"


class Script:
    """Replies by prompt.

    The prompt is the last user message of a chat, or the whole raw prompt, without white space
    around it.

    :param replies: prompt to reply; ``"*"`` serves every other prompt.
    """

    def __init__(self, replies: Mapping[str, str]) -> None:
        tokenizer = MockTokenizer()
        self._decode = tokenizer.decode
        self._replies = {
            key.strip(): tuple(tokenizer.encode(reply)) for key, reply in replies.items()
        }
        # A prompt is looked up again for each of its answer's tokens.
        self._lookup = lru_cache(maxsize=1024)(self._find)

    @classmethod
    def from_mapping(cls, replies: Mapping[Any, Any]) -> Script:
        """A script handed over as an object.

        :raises ConfigurationError: a key or reply is not a string.
        """
        for key, reply in replies.items():
            for what, value in (("prompt", key), ("reply", reply)):
                if not isinstance(value, str):
                    raise ConfigurationError(
                        f"script: the {what} {value!r} is a {type(value).__name__}.", hint=_FORM
                    )
        return cls(replies)

    @classmethod
    def from_file(cls, path: Path) -> Script:
        """A script in a YAML file.

        :raises ConfigurationError: the file is missing, not readable, not YAML, or not a mapping
            of strings to strings; with the line.
        """
        return cls(_read(path))

    def reply(self, prompt: Sequence[int]) -> tuple[int, ...] | None:
        """Tokens of the reply to a prompt's tokens, or ``None`` where the script has none."""
        if not self._replies:
            return None
        return self._lookup(tuple(prompt))

    def _find(self, prompt: tuple[int, ...]) -> tuple[int, ...] | None:
        asked = prompt
        if USER in prompt:
            start = len(prompt) - prompt[::-1].index(USER)
            end = prompt.index(END, start) if END in prompt[start:] else len(prompt)
            asked = prompt[start:end]
        text = self._decode(asked, skip_special_tokens=False).strip()
        found = self._replies.get(text)
        return found if found is not None else self._replies.get(DEFAULT_KEY)


def _read(path: Path) -> dict[str, str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The script {path} cannot be read: {error.strerror or error}.",
            hint="Give the path of a YAML file.",
        ) from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"The script {path} is not UTF-8 at line {line}.", hint="Save it as UTF-8."
        ) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else _line_of(text, error)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise ConfigurationError(
            f"The script {path} is not valid YAML at line {line}: {problem}.", hint=_FORM
        ) from None
    if not isinstance(root, yaml.MappingNode):
        line = root.start_mark.line + 1 if root is not None else 1
        raise ConfigurationError(f"The script {path} has no mapping at line {line}.", hint=_FORM)
    replies: dict[str, str] = {}
    for key, reply in root.value:
        for what, node in (("prompt", key), ("reply", reply)):
            if not isinstance(node, yaml.ScalarNode) or node.tag != _STRING_TAG:
                raise ConfigurationError(
                    f"The script {path} has a {what} that is not a string at line "
                    f"{node.start_mark.line + 1}.",
                    hint=f"Put it in quotes. {_FORM}",
                )
        if key.value.strip() in replies:
            raise ConfigurationError(
                f"The script {path} has the prompt {key.value!r} a second time at line "
                f"{key.start_mark.line + 1}.",
                hint="Keep one of them.",
            )
        replies[key.value.strip()] = reply.value
    return replies


def _line_of(text: str, error: yaml.YAMLError) -> int:
    # PyYAML's ReaderError knows the character, not the line.
    return text.count("\n", 0, getattr(error, "position", 0)) + 1
