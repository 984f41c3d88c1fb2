"""Byte-level BPE (GPT-2's) from a GGUF vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from sagellm_core.contract import TokenizerError

from .gguf_vocabulary import GGUFVocabulary
from .pre_tokenizers import pre_tokenizer

_log = logging.getLogger("sagellm.tokenization")


def byte_level_pipeline(vocabulary: GGUFVocabulary, vocab: dict[str, int]) -> Tokenizer:
    """Normaliser, pre-tokeniser, BPE and decoder; no added tokens yet.

    :param vocab: token -> id.
    :raises TokenizerError: no merges, a merge of unknown tokens, or an unknown rule to cut by.
    """
    if vocabulary.pre in ("", "default"):
        _log.warning(
            "The GGUF does not say how its vocabulary cuts text (tokenizer.ggml.pre); GPT-2's "
            "rule is used, which may not be the model's."
        )
    rule = pre_tokenizer(vocabulary.pre or "default")
    if vocabulary.merges is None:
        raise TokenizerError(
            "The GGUF has a byte-level vocabulary without merges.", hint="Convert the model again."
        )
    merges = _pairs(vocabulary.merges)
    try:
        model = models.BPE(vocab=vocab, merges=merges, ignore_merges=rule.ignore_merges)
    except Exception as error:  # the library raises a bare Exception
        raise TokenizerError(
            f"The GGUF's merges do not fit its vocabulary: {error}.",
            hint="Convert the model again.",
        ) from error
    pipeline = Tokenizer(model)
    if rule.nfc:
        pipeline.normalizer = normalizers.NFC()
    pipeline.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(split), behavior="isolated") for split in rule.splits),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    pipeline.decoder = decoders.ByteLevel()
    return pipeline


def _pairs(merges: Sequence[str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for merge in merges:
        # Byte-level tokens have no spaces of their own: GPT-2's alphabet spells them Ġ.
        left, separator, right = merge.partition(" ")
        if not separator or not left or not right:
            raise TokenizerError(
                f"The GGUF has the merge {merge!r}, which is not a pair.",
                hint="Convert the model again.",
            )
        pairs.append((left, right))
    return pairs
