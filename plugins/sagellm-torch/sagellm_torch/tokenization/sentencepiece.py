"""SentencePiece's BPE from a GGUF vocabulary."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, normalizers

from sagellm_core.contract import TokenizerError

from .gguf_vocabulary import GGUFVocabulary, TokenType

_SPACE = "▁"


def sentencepiece_pipeline(vocabulary: GGUFVocabulary, vocab: dict[str, int]) -> Tokenizer:
    """Normaliser, BPE with byte fallback and decoder; no added tokens yet.

    A space goes before the text, also before one that begins with a space: that is what
    SentencePiece's ``add_dummy_prefix`` does, and Llama 2's published tokenizer, and llama.cpp.

    :param vocab: token -> id.
    :raises TokenizerError: the file has neither merges nor scores, or they do not fit.
    """
    unknown = None if vocabulary.unknown is None else _spelled(vocabulary.unknown, vocab)
    try:
        model = models.BPE(
            vocab=vocab,
            merges=_merges(vocabulary, vocab),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    except TokenizerError:
        raise
    except Exception as error:  # the library raises a bare Exception
        raise TokenizerError(
            f"The GGUF's merges do not fit its vocabulary: {error}.",
            hint="Convert the model again.",
        ) from error
    pipeline = Tokenizer(model)
    spaces = normalizers.Replace(" ", _SPACE)
    steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if vocabulary.add_space_prefix:
        pipeline.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), spaces])
        steps.append(decoders.Strip(content=" ", left=1))
    else:
        pipeline.normalizer = spaces
    pipeline.decoder = decoders.Sequence(steps)
    return pipeline


def _spelled(index: int, vocab: dict[str, int]) -> str:
    """The token with this id as ``vocab`` spells it, which need not be as the file does."""
    for token, own in vocab.items():
        if own == index:
            return token
    raise TokenizerError(
        f"The GGUF's token {index}, its unknown token, is a copy of another token.",
        hint="Convert the model again.",
    )


def _merges(vocabulary: GGUFVocabulary, vocab: dict[str, int]) -> list[tuple[str, str]]:
    """Pairs to merge, best first.

    SentencePiece merges whatever gives the piece with the best score. So each piece stands for
    all the ways to cut it in two pieces; those of better pieces come first.
    """
    if vocabulary.merges is not None:
        pairs = [merge.partition(" ") for merge in vocabulary.merges]
        return [(left, right) for left, _, right in pairs]
    if vocabulary.scores is None:
        raise TokenizerError(
            "The GGUF has a SentencePiece vocabulary with neither merges nor scores.",
            hint="Convert the model again.",
        )
    special = set(
        vocabulary.of_type(TokenType.CONTROL, TokenType.UNKNOWN, TokenType.BYTE, TokenType.UNUSED)
    )
    # Gemma's scores are not in the order of its merges; the ids are.
    gemma = vocabulary.architecture.startswith("gemma")
    scores = [] if gemma else vocabulary.scores.tolist()
    found: list[tuple[float, int, int, str, str]] = []
    for token, index in vocab.items():
        if len(token) < 2 or index in special:
            continue
        rank = index if gemma else -scores[index]
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocab and right in vocab:
                found.append((rank, vocab[left], vocab[right], left, right))
    found.sort()
    return [(left, right) for *_, left, right in found]
