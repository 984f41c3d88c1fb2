"""Group ``contract``: the tokenizer that a loaded model brings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sagellm_core.contract.model import LoadedModel
from sagellm_core.contract.tokenizer import Tokenizer
from sagellm_core.testing.finding import require, skip
from sagellm_core.testing.marks import group
from sagellm_core.testing.tiny.family import END
from sagellm_core.testing.tiny.tokenizer import SPECIAL
from sagellm_core.testing.workbench import Workbench

_TEXTS = (
    "Hello, world!",
    " leading and trailing ",
    "two\nlines\tand a tab",
    "Grüße, naïveté, Ελληνικά, русский",
    "漢字とかな",
    "\N{SLIGHTLY SMILING FACE} \N{FAMILY}",
    "x = {'a': [1, 2.5e-3]}  # code",
)


@group("contract")
class TestTokenizer:
    """``LoadedModel.tokenizer``."""

    def test_texts_come_back(self, bench: Workbench, any_model: str) -> None:
        """Every text is what it was after encoding and decoding."""
        tokenizer = _tokenizer(bench.exact(any_model))
        for text in _TEXTS:
            tokens = tokenizer.encode(text, add_special_tokens=False)
            _check_ids(tokenizer, tokens)
            back = tokenizer.decode(tokens)
            require(back == text, f"{text!r} is {back!r} after encoding and decoding.")
        require(
            tokenizer.encode("", add_special_tokens=False) == [],
            "An empty text without special tokens has token ids.",
        )

    def test_special_tokens_are_added_and_skipped(self, bench: Workbench, any_model: str) -> None:
        """What is put around a text is left out of the text again."""
        tokenizer = _tokenizer(bench.exact(any_model))
        text = "Hello"
        tokens = tokenizer.encode(text)
        _check_ids(tokenizer, tokens)
        back = tokenizer.decode(tokens, skip_special_tokens=True)
        require(back == text, f"With special tokens around it, {text!r} decodes to {back!r}.")

    def test_special_tokens_are_recognised(self, bench: Workbench, model_on_disk: str) -> None:
        """Those that a chat template writes out are one token each."""
        tokenizer = _tokenizer(bench.exact(model_on_disk))
        tokens = tokenizer.encode(f"a{SPECIAL[END]}b", add_special_tokens=False)
        require(
            len(tokens) == 3 and tokens[1] == END,
            f"{SPECIAL[END]!r} within a text is encoded as {tokens[1:-1]}, not as [{END}].",
        )
        kept = tokenizer.decode(tokens, skip_special_tokens=False)
        require(
            kept == f"a{SPECIAL[END]}b",
            f"With skip_special_tokens=False the text is {kept!r}.",
        )

    def test_half_a_character_is_a_replacement(self, bench: Workbench, model_on_disk: str) -> None:
        """An unfinished UTF-8 sequence decodes to U+FFFD, which the engine waits for."""
        tokenizer = _tokenizer(bench.exact(model_on_disk))
        tokens = tokenizer.encode("\N{SLIGHTLY SMILING FACE}", add_special_tokens=False)
        text = tokenizer.decode(tokens[:2])
        require(
            "\N{REPLACEMENT CHARACTER}" in text,
            f"Two of four bytes of a character decode to {text!r}, without U+FFFD.",
        )

    def test_threads_may_share_it(self, bench: Workbench, any_model: str) -> None:
        """Encoding and decoding in eight threads gives what it gives in one."""
        tokenizer = _tokenizer(bench.exact(any_model))
        expected = [tokenizer.encode(text) for text in _TEXTS]

        def work(_: int) -> list[list[int]]:
            for tokens in expected:
                tokenizer.decode(tokens)
            return [tokenizer.encode(text) for text in _TEXTS]

        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(work, range(32)):
                require(found == expected, "Threads that encode at once get other token ids.")

    def test_the_chat_template_is_applied(self, bench: Workbench, any_model: str) -> None:
        """A conversation becomes the text that the model was trained on."""
        tokenizer = _tokenizer(bench.exact(any_model))
        if not tokenizer.has_chat_template:
            skip("The tokenizer says that it has no chat template.")
        messages = [{"role": "user", "content": "Hello"}]
        closed, opened = (
            tokenizer.apply_chat_template(messages, add_generation_prompt=wanted)
            for wanted in (False, True)
        )
        require("Hello" in closed, f"The message is not in the prompt: {closed!r}.")
        require(
            opened.startswith(closed) and opened != closed,
            f"add_generation_prompt=True adds nothing to {closed!r}.",
        )


def _tokenizer(model: LoadedModel) -> Tokenizer:
    return model.tokenizer


def _check_ids(tokenizer: Tokenizer, tokens: list[int]) -> None:
    for token in tokens:
        require(
            isinstance(token, int) and 0 <= token < tokenizer.vocab_size,
            f"{token!r} is not a token id below vocab_size, {tokenizer.vocab_size}.",
        )
