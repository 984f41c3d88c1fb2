"""The mock's loaded model."""

from __future__ import annotations

from dataclasses import replace

from sagellm_core.contract import (
    LoadOptions,
    ModelDescription,
    UnsupportedOptionError,
)

from . import vocabulary
from .options import MockOptions
from .script import Script
from .tokenizer import MockTokenizer


class MockModel:
    """Holds a script and options instead of weights.

    :raises ConfigurationError: an option or the script is wrong.
    :raises UnsupportedOptionError: a quantization was asked for.
    """

    def __init__(self, description: ModelDescription, options: LoadOptions) -> None:
        if options.quantization is not None:
            raise UnsupportedOptionError(
                f"The mock provider has no weights to quantize to {options.quantization!r}.",
                hint="Leave quantization out.",
            )
        self.options = MockOptions.from_mapping(options.provider_options)
        self.script: Script = self.options.load_script(description.reference)
        # Where the files of a real model were read, their vocabulary is not the mock's.
        self._description = replace(description, vocab_size=vocabulary.SIZE)
        self._tokenizer = MockTokenizer()
        if options.on_progress is not None:
            options.on_progress("load", 1, 1)

    @property
    def description(self) -> ModelDescription:
        """What it was loaded from, with the mock's own vocabulary."""
        return self._description

    @property
    def tokenizer(self) -> MockTokenizer:
        """Its tokenizer."""
        return self._tokenizer

    @property
    def max_model_len(self) -> int:
        """Longest sequence in tokens: the option ``context_length``."""
        return self.options.context_length

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """``<|end|>``."""
        return frozenset({vocabulary.END})

    @property
    def dtype(self) -> str:
        """Nothing is computed."""
        return "none"

    @property
    def quantization(self) -> str:
        """There are no weights."""
        return "none"

    @property
    def notes(self) -> tuple[str, ...]:
        """That the answers are made up."""
        return ("The mock provider makes its answers up; no model runs.",)

    def close(self) -> None:
        """Nothing to give back."""
