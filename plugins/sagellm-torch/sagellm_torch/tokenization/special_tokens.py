"""Special tokens as tokenizer_config.json names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers

#: The roles that a chat template may ask for by name.
ROLES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
_LISTS = ("additional_special_tokens", "extra_special_tokens")


def named_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """Role -> token. A token stands there as a string or as an object with ``content``."""
    found = {role: _content(config.get(role)) for role in ROLES}
    return {role: token for role, token in found.items() if token}


def add_missing_tokens(
    pipeline: tokenizers.Tokenizer, config: Mapping[str, Any], names: Mapping[str, str]
) -> None:
    """Add what the configuration declares and tokenizer.json lacks, in order of id."""
    known = {token.content for token in pipeline.get_added_tokens_decoder().values()}
    declared = config.get("added_tokens_decoder")
    entries = declared if isinstance(declared, Mapping) else {}
    numbered = sorted(
        ((int(key), value) for key, value in entries.items() if str(key).isdecimal()),
        key=lambda entry: entry[0],
    )
    for _, value in numbered:
        token = _added_token(value)
        if token is not None and token.content not in known:
            known.add(token.content)
            pipeline.add_tokens([token])
    for content in (*names.values(), *_listed(config)):
        if content not in known:
            known.add(content)
            pipeline.add_special_tokens(
                [tokenizers.AddedToken(content, normalized=False, special=True)]
            )


def _listed(config: Mapping[str, Any]) -> list[str]:
    listed: list[str] = []
    for name in _LISTS:
        values = config.get(name)
        if isinstance(values, Mapping):
            values = list(values.values())
        if isinstance(values, list):
            listed.extend(content for value in values if (content := _content(value)))
    return listed


def _content(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _added_token(value: Any) -> tokenizers.AddedToken | None:
    content = _content(value)
    if not content:
        return None
    flags = {
        flag: bool(value[flag])
        for flag in ("lstrip", "normalized", "rstrip", "single_word", "special")
        if isinstance(value, Mapping) and flag in value
    }
    return tokenizers.AddedToken(content, **flags)
