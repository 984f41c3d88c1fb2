"""The whole pipeline from a GGUF vocabulary: model, added tokens, BOS and EOS."""

from __future__ import annotations

import logging

from tokenizers import AddedToken, Tokenizer, processors

from sagellm_core.contract import TokenizerError

from .byte_level import byte_level_pipeline
from .gguf_vocabulary import GGUFVocabulary, TokenType
from .pre_tokenizers import pre_tokenizer
from .sentencepiece import sentencepiece_pipeline

_log = logging.getLogger("sagellm.tokenization")


def build_pipeline(vocabulary: GGUFVocabulary) -> Tokenizer:
    """A ``tokenizers`` pipeline that works as the GGUF says.

    :raises TokenizerError: a kind of vocabulary that is not supported, or a broken one.
    """
    vocab = _vocab(vocabulary)
    if vocabulary.model == "gpt2":
        pipeline = byte_level_pipeline(vocabulary, vocab)
        add_bos = pre_tokenizer(vocabulary.pre or "default").add_bos
    elif vocabulary.model == "llama":
        pipeline = sentencepiece_pipeline(vocabulary, vocab)
        # What llama.cpp does where files of this kind, the oldest ones, do not say.
        add_bos = True
    else:
        raise TokenizerError(
            f"The GGUF has a tokenizer of the kind {vocabulary.model!r}.",
            hint="Supported are gpt2 (byte-level BPE) and llama (SentencePiece BPE); use the "
            "model's Hugging Face directory, or pass prompt_token_ids.",
        )
    _add_tokens(pipeline, vocabulary)
    if vocabulary.add_bos is not None:
        add_bos = vocabulary.add_bos
    _frame(
        pipeline,
        bos=_with_id(vocabulary, vocabulary.bos if add_bos else None),
        eos=_with_id(vocabulary, vocabulary.eos if vocabulary.add_eos else None),
    )
    return pipeline


def _vocab(vocabulary: GGUFVocabulary) -> dict[str, int]:
    vocab: dict[str, int] = {}
    gemma = vocabulary.model == "llama" and vocabulary.architecture.startswith("gemma")
    for index, token in enumerate(vocabulary.tokens):
        # Gemma's runs of spaces are stored as spaces; its text has ▁ for them by the time that
        # tokens are looked up.
        spelled = "▁" * len(token) if gemma and token.strip(" ") == "" else token
        if vocab.setdefault(spelled, index) != index:
            _log.warning("Tokens %d and %d are both %r.", vocab[spelled], index, token)
    return vocab


def _add_tokens(pipeline: Tokenizer, vocabulary: GGUFVocabulary) -> None:
    special = vocabulary.of_type(TokenType.CONTROL)
    # Phi-3's special tokens swallow the white space after them, but for those three.
    strips = vocabulary.architecture == "phi3" and vocabulary.model == "llama"
    keeps = ("<unk>", "<s>", "<|endoftext|>")
    added = [
        AddedToken(token, normalized=False, special=True, rstrip=strips and token not in keeps)
        for token in (vocabulary.tokens[index] for index in special)
        if token
    ]
    if added:
        pipeline.add_special_tokens(added)
    # Matched whole wherever they stand, but part of the text. Runs of spaces are left to BPE,
    # which makes the same tokens of them.
    defined = vocabulary.of_type(TokenType.USER_DEFINED)
    plain = [
        AddedToken(token, normalized=False, special=False)
        for token in (vocabulary.tokens[index] for index in defined)
        if token.strip(" ")
    ]
    if plain:
        pipeline.add_tokens(plain)


def _with_id(vocabulary: GGUFVocabulary, token: int | None) -> tuple[str, int] | None:
    return None if token is None else (vocabulary.tokens[token], token)


def _frame(
    pipeline: Tokenizer, *, bos: tuple[str, int] | None, eos: tuple[str, int] | None
) -> None:
    """Let ``pipeline`` put these, each a token and its id, around what it encodes."""
    if bos is None and eos is None:
        return
    single = [bos[0]] if bos else []
    single.append("$A")
    single.extend([eos[0]] if eos else [])
    pipeline.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[each for each in (bos, eos) if each]
    )
