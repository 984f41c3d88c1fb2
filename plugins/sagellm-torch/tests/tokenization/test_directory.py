"""Hugging Face directories, compared with AutoTokenizer."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sagellm_torch.tokenization import load_tokenizer
from tokenizers import processors

from sagellm_core.contract import (
    InvalidRequestError,
    ModelDescription,
    ModelFormat,
    Tokenizer,
    TokenizerError,
)

BASE = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 100}
FRAMED = {
    "bos_token": "<|im_start|>",
    "eos_token": {"__type": "AddedToken", "content": "<|im_end|>"},
}


@pytest.fixture
def model(tmp_path, byte_level):
    """Writes a directory with the tokenizer and these files."""

    def write(config=None, pipeline=None, **files):
        (pipeline or byte_level()).save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "config.json").write_text('{"model_type": "llama", "vocab_size": 600}')
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({**BASE, **(config or {})}))
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_j", ".j")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def both(path, describe):
    from transformers import AutoTokenizer

    return load_tokenizer(describe(path), None), AutoTokenizer.from_pretrained(path)


def with_bos(pipeline):
    pipeline.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    return pipeline


@pytest.mark.parametrize(
    "config",
    [
        {},
        FRAMED,
        {**FRAMED, "add_bos_token": True},
        {**FRAMED, "add_bos_token": True, "add_eos_token": True},
        {**FRAMED, "add_eos_token": True},
        {**FRAMED, "add_bos_token": False},
        {"add_bos_token": True},
        {"bos_token": "<new>", "add_bos_token": True},
        {"eos_token": "the"},
        {
            "additional_special_tokens": [
                "<tool>",
                {"__type": "AddedToken", "content": "<|im_end|>"},
            ]
        },
        {
            "added_tokens_decoder": {
                "429": {"content": "<two>", "special": False, "normalized": False},
                "428": {"content": "<one>", "special": True, "rstrip": True},
            }
        },
    ],
)
@pytest.mark.parametrize("frame", [False, True])
def test_ids_are_those_of_transformers(config, frame, model, byte_level, describe):
    path = model(config, pipeline=with_bos(byte_level()) if frame else None)
    ours, theirs = both(path, describe)
    for text in (
        "",
        "the quick brown",
        "<|im_start|>user\nhello<|im_end|>",
        "a <new> <one>  <two> <tool> é 日本",
    ):
        assert ours.encode(text) == theirs.encode(text), text
        plain = ours.encode(text, add_special_tokens=False)
        assert plain == theirs.encode(text, add_special_tokens=False)
        for skip in (True, False):
            assert ours.decode(plain, skip_special_tokens=skip) == theirs.decode(
                plain, skip_special_tokens=skip, clean_up_tokenization_spaces=False
            )


def test_settings_of_a_training_run_do_not_apply(model, byte_level, describe):
    pipeline = byte_level()
    pipeline.enable_truncation(3)
    pipeline.enable_padding(length=50)
    ours = load_tokenizer(describe(model(pipeline=pipeline)), None)
    text = "the quick brown fox jumps"
    assert ours.decode(ours.encode(text)) == text


def test_the_models_size_counts(model, describe):
    path = model()
    config = {"vocab_size": 600}
    assert load_tokenizer(describe(path, config=config), None).vocab_size == 600
    assert load_tokenizer(describe(path, vocab_size=512), None).vocab_size == 512
    nested = {"vocab_size": 1, "text_config": {"vocab_size": 700}}
    assert load_tokenizer(describe(path, config=nested), None).vocab_size == 700
    assert load_tokenizer(describe(path), None).vocab_size == 428


def test_a_token_that_the_model_lacks_is_refused(model, describe):
    tokenizer = load_tokenizer(describe(model({"bos_token": "<image>"}), vocab_size=428), None)
    with pytest.raises(TokenizerError, match="'<image>', which is token 428"):
        tokenizer.encode("see <image>")


@pytest.mark.parametrize(
    ("config", "files"),
    [
        ({"chat_template": "T {{ messages[0].content }}{{ bos_token }}"}, {}),
        ({"chat_template": [{"name": "default", "template": "T {{ messages[0].content }}"},
                            {"name": "tool_use", "template": "U"}]}, {}),
        ({}, {"chat_template_jinja": "J {{ messages[0].content }}\n"}),
        ({"chat_template": "T"}, {"chat_template_jinja": "J"}),
        ({}, {"chat_template_jinja": "J", "additional_chat_templates__tool_use_jinja": "A"}),
    ],
)  # fmt: skip
def test_where_templates_stand(config, files, model, describe):
    ours, theirs = both(model({**FRAMED, **config}, **files), describe)
    messages = [{"role": "user", "content": "hello"}]
    assert ours.has_chat_template
    for tools in (None, [{"type": "function", "function": {"name": "f"}}]):
        assert ours.apply_chat_template(messages, tools=tools) == theirs.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=True
        )


def test_a_template_in_the_file_that_processors_read(model, describe):
    path = model(FRAMED, chat_template_json='{"chat_template": "S {{ eos_token }}"}')
    tokenizer = load_tokenizer(describe(path), None)
    assert tokenizer.apply_chat_template([]) == "S <|im_end|>"


def test_no_template(model, describe):
    tokenizer = load_tokenizer(describe(model()), None)
    assert not tokenizer.has_chat_template
    with pytest.raises(TokenizerError, match="no chat template"):
        tokenizer.apply_chat_template([{"role": "user", "content": "x"}])


@pytest.mark.parametrize("file", [None, "tokenizer.model", "tekken.json"])
def test_no_tokenizer_json(file, tmp_path, describe):
    if file:
        (tmp_path / file).write_bytes(b"\n\x0e\n\x05<unk>")
    tokenizer = load_tokenizer(describe(tmp_path, vocab_size=77), None)
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.vocab_size == 77
    assert not tokenizer.has_chat_template
    for use in (
        lambda: tokenizer.encode("x"),
        lambda: tokenizer.decode([1]),
        lambda: tokenizer.apply_chat_template([]),
    ):
        with pytest.raises(TokenizerError, match=file or r"no tokenizer\.json") as caught:
            use()
        assert "prompt_token_ids" in caught.value.hint
        assert "tokenizer.json" in caught.value.hint


def test_nothing_resolved():
    description = ModelDescription(reference="some/model", format=ModelFormat.UNRESOLVED)
    with pytest.raises(TokenizerError, match="some/model"):
        load_tokenizer(description, None).encode("x")


@pytest.mark.parametrize("text", ["", "{", "{}", '{"version": "1.0"}', "[]"])
def test_a_broken_tokenizer_json(text, model, describe):
    path = model()
    (path / "tokenizer.json").write_text(text)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json could not be read"):
        load_tokenizer(describe(path), None)


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_a_broken_tokenizer_config(text, model, describe):
    path = model()
    (path / "tokenizer_config.json").write_text(text)
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json"):
        load_tokenizer(describe(path), None)


def test_bad_arguments(model, describe):
    tokenizer = load_tokenizer(describe(model()), None)
    with pytest.raises(InvalidRequestError, match="lone surrogate at position 3"):
        tokenizer.encode("abc\ud800")
    with pytest.raises(InvalidRequestError, match="not bytes"):
        tokenizer.encode(b"abc")
    for ids in ([-1], [2**40], ["x"], [1.5]):
        with pytest.raises(InvalidRequestError):
            tokenizer.decode(ids)
    assert tokenizer.decode([100_000]) == ""


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(config=st.dictionaries(
    st.sampled_from(["bos_token", "add_bos_token", "chat_template", "added_tokens_decoder",
                     "additional_special_tokens", "extra_special_tokens"]),
    st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
                 lambda inner: st.one_of(st.lists(inner, max_size=3),
                                         st.dictionaries(st.text(max_size=9), inner, max_size=3)),
                 max_leaves=6)))  # fmt: skip
def test_any_configuration_loads(config, model, describe):
    tokenizer = load_tokenizer(describe(model(config), vocab_size=10_000), None)
    # A special token of the configuration may be part of the text, and is skipped then.
    ids = tokenizer.encode("the fox", add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=False) == "the fox"
