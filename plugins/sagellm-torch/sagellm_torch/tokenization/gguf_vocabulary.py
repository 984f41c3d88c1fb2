"""The vocabulary that a GGUF header carries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from numpy.typing import NDArray

from sagellm_core.contract import ModelFormatError, TokenizerError
from sagellm_torch.checkpoint.gguf.header import GGUFHeader
from sagellm_torch.checkpoint.gguf.metadata import ArrayField, Metadata

_PREFIX = "tokenizer.ggml."


class TokenType(IntEnum):
    """``enum llama_token_type`` of llama.h."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class GGUFVocabulary:
    """What a tokenizer is built from."""

    #: ``general.architecture``: a few rules hold for one family only.
    architecture: str
    #: ``gpt2`` (byte-level BPE) or ``llama`` (SentencePiece's BPE).
    model: str
    #: How text is cut before BPE, by llama.cpp's name for it; empty where not stated.
    pre: str
    #: By id.
    tokens: list[str]
    #: By id, values of :class:`TokenType`; ``None``: all are normal.
    types: NDArray[Any] | None
    #: By id; ``None`` where the file has merges.
    scores: NDArray[Any] | None
    #: ``left right``, best first; ``None`` where the file has scores.
    merges: list[str] | None
    bos: int | None
    eos: int | None
    unknown: int | None
    #: ``None``: not stated.
    add_bos: bool | None
    add_eos: bool
    add_space_prefix: bool

    def of_type(self, *kinds: TokenType) -> list[int]:
        """Ids of the tokens of these types."""
        if self.types is None:
            return []
        return sorted({int(i) for kind in kinds for i in (self.types == kind).nonzero()[0]})


def read_vocabulary(header: GGUFHeader) -> GGUFVocabulary:
    """Decode the tokenizer's part of a header.

    :raises TokenizerError: there is none, or its parts do not fit together.
    :raises ModelFormatError: a key of the wrong type.
    """
    metadata = header.metadata
    tokens = metadata.strings(f"{_PREFIX}tokens")
    types = _by_id(metadata, "token_type", metadata.integers, len(tokens))
    scores = _by_id(metadata, "scores", metadata.floats, len(tokens))
    merges = metadata.strings(f"{_PREFIX}merges") if f"{_PREFIX}merges" in metadata else None
    special = {}
    for name in ("bos", "eos", "unknown"):
        token = metadata.integer(f"{_PREFIX}{name}_token_id", None)
        if token is not None and not 0 <= token < len(tokens):
            raise TokenizerError(
                f"{header.path}: the {name} token is {token}; there are {len(tokens)} tokens.",
                hint="Convert the model again.",
            )
        special[name] = token
    stated = f"{_PREFIX}add_bos_token" in metadata
    return GGUFVocabulary(
        architecture=metadata.string("general.architecture", ""),
        model=metadata.string(f"{_PREFIX}model"),
        pre=metadata.string(f"{_PREFIX}pre", ""),
        tokens=tokens,
        types=types,
        scores=scores,
        merges=merges,
        bos=special["bos"],
        eos=special["eos"],
        unknown=special["unknown"],
        add_bos=metadata.flag(f"{_PREFIX}add_bos_token", False) if stated else None,
        add_eos=metadata.flag(f"{_PREFIX}add_eos_token", False),
        add_space_prefix=metadata.flag(f"{_PREFIX}add_space_prefix", True),
    )


def fingerprint(metadata: Metadata, salts: Iterable[str]) -> str:
    """A hash of everything that a tokenizer is built from, and of ``salts``."""
    digest = hashlib.sha256()
    for salt in salts:
        digest.update(salt.encode() + b"\0")
    for key in sorted(metadata):
        if not key.startswith(_PREFIX) and key != "general.architecture":
            continue
        value = metadata.field(key)
        raw = value.raw if isinstance(value, ArrayField) else repr(value).encode()
        digest.update(f"{key}\0{len(raw)}\0".encode() + raw)
    return digest.hexdigest()


def _by_id(metadata: Metadata, name: str, read: Any, count: int) -> NDArray[Any] | None:
    key = _PREFIX + name
    if key not in metadata:
        return None
    values: NDArray[Any] = read(key)
    if len(values) != count:
        raise ModelFormatError(
            f"{key} has {len(values)} entries for {count} tokens.", hint="Convert the model again."
        )
    return values
