"""A vocabulary of bytes, as a ``tokenizer.json``.

The format is that of the tokenizers library (https://huggingface.co/docs/tokenizers): byte-level
BPE without a single merge, so that every text there is goes through unchanged.
"""

from __future__ import annotations

from typing import Any

from .family import BEGIN, END, FIRST_BYTE, PAD, VOCAB_SIZE

#: Of no use to any text.
_EXTRA = {
    number: f"<|extra_{number - FIRST_BYTE - 256}|>"
    for number in range(FIRST_BYTE + 256, VOCAB_SIZE)
}
SPECIAL = {PAD: "<|pad|>", BEGIN: "<|begin|>", END: "<|end|>", **_EXTRA}

CHAT_TEMPLATE = (
    "{% for message in messages %}<|begin|>{{ message.role }}: {{ message.content }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|begin|>assistant: {% endif %}"
)


def byte_characters() -> list[str]:
    """The character by which byte-level vocabularies write each byte.

    Printable bytes of Latin-1 stand for themselves, the others for characters from 256 on, as in
    GPT-2's encoder (https://github.com/openai/gpt-2).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def tokenizer_json(*, enclosed: bool) -> dict[str, Any]:
    """The file.

    :param enclosed: texts stand between BEGIN and END, as encoders want them; otherwise they
        begin with BEGIN.
    """
    characters = byte_characters()
    vocabulary = {character: FIRST_BYTE + byte for byte, character in enumerate(characters)}
    vocabulary.update((text, number) for number, text in SPECIAL.items())
    around: list[dict[str, Any]] = [_special(BEGIN), {"Sequence": {"id": "A", "type_id": 0}}]
    if enclosed:
        around.append(_special(END))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, text in sorted(SPECIAL.items())
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": around,
            "pair": [*around, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                SPECIAL[number]: {
                    "id": SPECIAL[number],
                    "ids": [number],
                    "tokens": [SPECIAL[number]],
                }
                for number in (BEGIN, END)
            },
        },
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [],
        },
    }


def tokenizer_config(*, context: int) -> dict[str, Any]:
    """``tokenizer_config.json``."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "bos_token": SPECIAL[BEGIN],
        "eos_token": SPECIAL[END],
        "pad_token": SPECIAL[PAD],
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }


def _special(number: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": SPECIAL[number], "type_id": 0}}
