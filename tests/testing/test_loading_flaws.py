"""Providers that load, tokenise or embed against the contract, and which tests find it."""

from __future__ import annotations

from typing import Any

import pytest

GROUPS = ("contract",)
CLASSES = ("TestLoading", "TestTokenizer", "TestEmbedder")
_EMBEDDER = """
@hookimpl
def sagellm_open_embedder(model, config):
    from .embedder import TinyEmbedder
    class Flawed(TinyEmbedder):
{body}
    return Flawed(model, config)
"""
_LOADER = """
@hookimpl
def sagellm_load_model(model, options):
    from .model import TinyProviderModel
    class Flawed(TinyProviderModel):
{body}
    return Flawed(model, options)
"""


def embedder(body: str) -> str:
    """A module whose embedder has these methods."""
    return _EMBEDDER.format(body=_indented(body))


def loaded(body: str) -> str:
    """A module whose models have these methods."""
    return _LOADER.format(body=_indented(body))


def _indented(body: str) -> str:
    return "\n".join(" " * 4 + line for line in body.splitlines())


DAMAGED = {
    f"test_a_damaged_model_is_refused[{damage}]"
    for damage in ("tensor_missing", "tensor_of_another_shape")
}

FLAWS: dict[str, dict[str, Any]] = {
    "fine": {},
    "knows_every_option": {
        "body": loaded("""
    def __init__(self, model, options):
        super().__init__(model, LoadOptions(dtype=options.dtype))
"""),
        "caught": {
            "test_an_unknown_provider_option_is_refused",
            "test_an_unknown_name_is_refused[quantization]",
        },
    },
    "raises_what_comes": {
        "body": loaded("""
    def __init__(self, model, options):
        {"auto": 4, "float32": 4}[options.dtype]
        super().__init__(model, options)
"""),
        "caught": {"test_an_unknown_name_is_refused[dtype]"},
    },
    "says_not_what_to_do": {
        "body": loaded("""
    def __init__(self, model, options):
        if options.provider_options:
            raise ConfigurationError("No.")
        super().__init__(model, options)
"""),
        "caught": {"test_an_unknown_provider_option_is_refused"},
    },
    "checks_no_tensors": {
        "body": """
@hookimpl
def sagellm_load_model(model, options):
    from . import model as module
    kept, module.check_weights = module.check_weights, lambda *_: None
    try:
        return module.TinyProviderModel(model, options)
    finally:
        module.check_weights = kept
""",
        "caught": DAMAGED,
    },
    "loads_whatever_it_is_called": {
        "body": """
@hookimpl
def sagellm_can_load(model, device):
    return LoadAnswer(verdict=LoadVerdict.YES)
""",
        "caught": {"test_an_unknown_architecture_is_refused"},
    },
    "says_no_without_a_reason": {
        "body": """
@hookimpl
def sagellm_can_load(model, device):
    verdict = LoadVerdict.YES if model.model_type == "llama" else LoadVerdict.NO
    return LoadAnswer(verdict=verdict)
""",
        "caught": {"test_an_unknown_architecture_is_refused"},
    },
    "promises_a_longer_context": {
        "body": loaded("""
    max_model_len = property(lambda self: 4096, lambda self, value: None)
"""),
        "caught": {
            "test_the_model_says_what_it_is",
        },
    },
    "never_ends_a_text": {
        "body": loaded("""
    eos_token_ids = property(lambda self: frozenset({0}), lambda self, value: None)
"""),
        "caught": {"test_the_model_says_what_it_is"},
    },
    "closes_models_once": {
        "body": loaded("""
    def close(self):
        self._weights.clear()
        self._weights = None
"""),
        "caught": {"test_models_close_twice"},
    },
    "keeps_weights_when_closed": {
        "body": loaded("""
    def close(self):
        pass
"""),
        "caught": {"test_closed_models_return_their_memory"},
    },
    "strips_texts": {
        "body": loaded("""
    def __init__(self, model, options):
        super().__init__(model, options)
        whole = self.tokenizer.decode
        self.tokenizer.decode = lambda ids, **how: whole(ids, **how).strip()
"""),
        "caught": {"test_texts_come_back"},
    },
    "shows_special_tokens": {
        "body": loaded("""
    def __init__(self, model, options):
        super().__init__(model, options)
        whole = self.tokenizer.decode
        self.tokenizer.decode = lambda ids, **how: whole(ids, skip_special_tokens=False)
"""),
        "caught": {"test_special_tokens_are_added_and_skipped"},
    },
    "cuts_off_the_end_token": {
        "body": embedder("""
    def encode(self, texts):
        whole = super().encode(texts)
        return TokenizedTexts(token_ids=whole.token_ids, lengths=list(map(len, whole.token_ids)))
"""),
        "caught": {"test_texts_are_encoded_and_cut"},
    },
    "pools_as_it_likes": {
        "body": embedder("""
    def __init__(self, model, config):
        super().__init__(model, EmbedderConfig(max_length=config.max_length))
"""),
        "caught": {"test_an_unknown_pooling_is_refused"},
    },
    "takes_any_length": {
        "body": embedder("""
    def embed(self, batch, *, normalize):
        limit, self.max_length = self.max_length, 10**6
        vectors = super().embed(batch, normalize=normalize)
        self.max_length = limit
        return vectors
"""),
        "caught": {"test_an_input_too_long_is_refused"},
    },
}


@pytest.mark.parametrize("name", FLAWS)
def test_the_flaw_is_caught_by(findings: Any, name: str) -> None:
    # Nothing of these classes proves that it generates or embeds.
    found = {each for each in findings[name] if "[generate]" not in each and "[embed]" not in each}
    assert found == FLAWS[name].get("caught", set()), findings[name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("knows_every_option", "An unknown provider option is accepted; a ConfigurationError was"),
        ("raises_what_comes", "An unknown dtype ends in KeyError ('float31'), not in a"),
        ("says_not_what_to_do", "ends in a ConfigurationError without a hint"),
        ("promises_a_longer_context", "max_model_len is 4096, and the model was made for 512."),
    ],
)
def test_the_sentence_says_what(findings: Any, name: str, sentence: str) -> None:
    assert sentence in " ".join(findings[name].values())
