"""How byte-level vocabularies cut text before BPE.

A GGUF names the rule (``tokenizer.ggml.pre``) and leaves the rule to the reader. The expressions
are those of the models' published tokenizers; the names are llama.cpp's. A name that is not here
is refused: with the wrong rule a model still answers, only worse, and nobody can tell why.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagellm_core.contract import TokenizerError

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+",
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*",
)


def _either(*alternatives: str) -> str:
    return "|".join(alternatives)


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """One rule. Every match of an expression becomes a piece, and so does what lies between."""

    #: Applied one after the other, each to the pieces of the one before.
    splits: tuple[str, ...]
    #: Text is brought into Unicode's form NFC first.
    nfc: bool = False
    #: Take a piece that is a token as it is, before looking at merges.
    ignore_merges: bool = False
    #: Whether BOS is added where the file does not say.
    add_bos: bool = False


_LLAMA3 = PreTokenizer(
    (_either(_CONTRACTIONS, _WORDS, r"\p{N}{1,3}", _SYMBOLS, _TAIL),),
    ignore_merges=True,
    add_bos=True,
)
_QWEN2 = PreTokenizer((_either(_CONTRACTIONS, _WORDS, r"\p{N}", _SYMBOLS, _TAIL),), nfc=True)
_STABLELM2 = PreTokenizer(_QWEN2.splits)
_GPT4O = PreTokenizer(
    (
        _either(
            *(f"{cased}{_CONTRACTIONS}?" for cased in _CASED),
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            _TAIL,
        ),
    )
)
_TEKKEN = PreTokenizer(
    (_either(*_CASED, r"\p{N}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", _TAIL),),
    ignore_merges=True,
    add_bos=True,
)
_PLAIN = PreTokenizer((_GPT2,))
_DIGITS = PreTokenizer((r"\p{N}", _GPT2))
_DEEPSEEK_CODER = PreTokenizer(
    (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")
)
_DEEPSEEK_V3 = PreTokenizer(
    (
        r"\p{N}{1,3}",
        "[一-龥぀-ゟ゠-ヿ]+",
        _either(
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+",
            r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
            r" ?[\p{P}\p{S}]+[\r\n]*",
            _TAIL,
        ),
    )
)

_BY_NAME = {
    "gpt-2": _PLAIN,
    "default": _PLAIN,
    "mpt": _PLAIN,
    "olmo": _PLAIN,
    "phi-2": _PLAIN,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "command-r": _DIGITS,
    "codeshell": _DIGITS,
    "exaone": _DIGITS,
    "minerva-7b": _DIGITS,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama-bpe": _LLAMA3,
    "falcon3": _LLAMA3,
    "pixtral": _LLAMA3,
    "dbrx": PreTokenizer(_LLAMA3.splits),
    "smaug-bpe": PreTokenizer(_LLAMA3.splits),
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "megrez": _QWEN2,
    "stablelm2": _STABLELM2,
    "tekken": _TEKKEN,
    "gpt-4o": _GPT4O,
    "llama4": _GPT4O,
    "deepseek-coder": _DEEPSEEK_CODER,
    "deepseek-v3": _DEEPSEEK_V3,
}


def pre_tokenizer(name: str) -> PreTokenizer:
    """The rule of that name.

    :raises TokenizerError: the name is unknown; those known are in the hint.
    """
    rule = _BY_NAME.get(name)
    if rule is None:
        raise TokenizerError(
            f"The GGUF cuts text by the rule {name!r} (tokenizer.ggml.pre), which is not known.",
            hint="Use the model's Hugging Face directory, or pass prompt_token_ids. Known rules: "
            f"{', '.join(sorted(_BY_NAME))}.",
        )
    return rule
