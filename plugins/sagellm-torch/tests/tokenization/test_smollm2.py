"""The real vocabulary: SmolLM2's, from its GGUF."""

from __future__ import annotations

import subprocess
import sys
import threading
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sagellm_torch.tokenization import load_tokenizer
from tokenizers import pre_tokenizers

from sagellm_core.contract import Tokenizer

CHAT = [
    {"role": "system", "content": "Be <brief> & kind."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "Once more"},
]
TEXT = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            [
                "the",
                " and",
                "\n\n",
                "  ",
                "\t",
                "<|im_start|>",
                "<|im_end|>",
                "don't",
                "été",
                "日本",
            ]
        ),
    ),
    max_size=12,
).map("".join)


@pytest.fixture(scope="module")
def ours(smollm2, describe):
    return load_tokenizer(describe(smollm2), None)


@pytest.fixture(scope="module")
def theirs(smollm2):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name)


@pytest.fixture(scope="module")
def published(smollm2):
    """The same, cutting text as SmolLM2's published tokenizer.json does."""
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name)
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return made


@settings(max_examples=300, deadline=None)
@given(TEXT)
@example("")
@example("Steps:\n\n1. Mix  2 eggs\n\n2. Bake at 180°C for 25 min.")
def test_ids_are_those_of_the_published_tokenizer(ours, published, text):
    assert ours.encode(text) == published.encode(text)
    assert ours.encode(text, add_special_tokens=False) == published.encode(
        text, add_special_tokens=False
    )


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_ids_are_those_of_transformers(ours, theirs, text):
    # Reading a GGUF, transformers does not know the rule "smollm" and cuts as GPT-2 does. That
    # differs where white space precedes a digit, and nowhere else.
    text = "".join(char for char in text if unicodedata.category(char)[0] != "N")
    assert ours.encode(text) == theirs.encode(text)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_round_trip(ours, theirs, text):
    # SmolLM2's vocabulary was made without the bytes that these characters need.
    text = "".join(char for char in text if (char >= " " and char < "\U00040000") or char == "\n")
    ids = ours.encode(text, add_special_tokens=False)
    assert all(0 <= token < ours.vocab_size for token in ids)
    assert ours.decode(ids, skip_special_tokens=False) == text
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 49151), max_size=30))
def test_any_ids_decode(ours, theirs, ids):
    for skip in (True, False):
        assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(
            ids, skip_special_tokens=skip
        )


def test_properties(ours):
    assert isinstance(ours, Tokenizer)
    assert ours.vocab_size == 49152
    assert ours.has_chat_template
    assert ours.encode("<|im_end|>") == [2]
    assert ours.decode([2, 19556]) == "Hello"


def test_an_unfinished_character_is_a_replacement_character(ours):
    ids = ours.encode("🙂", add_special_tokens=False)
    assert ours.decode(ids[:-1]).endswith("\ufffd")


@pytest.mark.parametrize("messages", [CHAT, CHAT[1:], CHAT[:2]])
@pytest.mark.parametrize("generation", [True, False])
def test_chat_template(messages, generation, ours, theirs):
    expected = theirs.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=generation
    )
    assert ours.apply_chat_template(messages, add_generation_prompt=generation) == expected


def test_from_several_threads(ours):
    text = "The same text, <|im_start|> and again. " * 20
    expected = (ours.encode(text), ours.apply_chat_template(CHAT))
    results = []

    def work():
        for _ in range(20):
            results.append((ours.encode(text), ours.apply_chat_template(CHAT)))
            assert ours.decode(expected[0], skip_special_tokens=False) == text

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 80


def test_what_is_imported(smollm2):
    program = f"""
import sys
from pathlib import Path
from sagellm_core.contract import ModelDescription, ModelFormat
from sagellm_torch.tokenization import load_tokenizer
path = Path({str(smollm2)!r})
model = ModelDescription(reference="m", format=ModelFormat.GGUF, path=path)
tokenizer = load_tokenizer(model, None)
tokenizer.encode("Hello")
before = set(sys.modules) & {{"torch", "transformers", "gguf", "jinja2"}}
tokenizer.apply_chat_template([{{"role": "user", "content": "x"}}])
print(sorted(before), sorted(set(sys.modules) & {{"torch", "transformers", "gguf", "jinja2"}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[] ['jinja2']"
