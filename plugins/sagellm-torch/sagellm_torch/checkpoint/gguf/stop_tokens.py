"""Which tokens end a generation, according to a GGUF header."""

from __future__ import annotations

from .metadata import ArrayField, Metadata

_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
#: Control tokens that end an assistant's turn. Files written before the end-of-turn key existed
#: name only the token that ends a document, which a chat model does not say.
_TURN_ENDS = frozenset({b"<|eot_id|>", b"<|eom_id|>", b"<|im_end|>", b"<end_of_turn>", b"<|end|>"})
_CONTROL = 3


def stop_token_ids(metadata: Metadata) -> list[int]:
    """Ids in the order: end of sequence, of turn, of message, then those found by name.

    :raises ModelFormatError: a key of the wrong type.
    """
    ids: list[int] = []
    for key in _KEYS:
        token = metadata.integer(f"tokenizer.ggml.{key}", None)
        if token is not None and token >= 0:
            ids.append(token)
    types, tokens = (metadata.field(f"tokenizer.ggml.{key}") for key in ("token_type", "tokens"))
    if isinstance(types, ArrayField) and isinstance(tokens, ArrayField):
        ids.extend(_turn_ends(metadata))
    return list(dict.fromkeys(ids))


def _turn_ends(metadata: Metadata) -> list[int]:
    types = metadata.integers("tokenizer.ggml.token_type")
    found = metadata.find_strings("tokenizer.ggml.tokens", _TURN_ENDS)
    return [token for token in found if token < len(types) and types[token] == _CONTROL]
