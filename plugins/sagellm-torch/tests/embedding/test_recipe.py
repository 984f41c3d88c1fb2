"""What the files of sentence-transformers say, old and new spelling, and what is refused."""

from __future__ import annotations

import json

import pytest
from sagellm_torch.embedding import read_recipe

from sagellm_core.contract import (
    ModelDescription,
    ModelFormat,
    ModelFormatError,
    UnsafeModelError,
    UnsupportedModelError,
)

MEAN = {"word_embedding_dimension": 48, "pooling_mode_mean_tokens": True}


@pytest.fixture
def recipe(tmp_path):
    def read(path=tmp_path, default="mean"):
        description = ModelDescription(
            reference="somewhere", format=ModelFormat.SAFETENSORS, path=path
        )
        return read_recipe(description, default_pooling=default)

    return read


def test_a_plain_directory_has_the_defaults(tmp_path, recipe) -> None:
    found = recipe(default="last")
    assert (found.pooling, found.normalize, found.max_length) == ("last", False, None)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 99}')
    assert recipe().max_length == 99
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    assert recipe().max_length is None


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (MEAN, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"word_embedding_dimension": 48}, "mean"),
        ({"embedding_dimension": 48, "pooling_mode": "lasttoken"}, "last"),
        ({"embedding_dimension": 48, "pooling_mode": ["cls"]}, "cls"),
    ],
)
def test_both_spellings_of_the_pooling(
    tmp_path, recipe, sentence_layout, pooling, expected
) -> None:
    sentence_layout(tmp_path, pooling)
    assert recipe().pooling == expected


@pytest.mark.parametrize(
    ("pooling", "named"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, r"cls \+ mean"),
        ({"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        ({"pooling_mode": ["mean", "max"]}, r"mean \+ max"),
        ({"pooling_mode": "median"}, "median"),
    ],
)
def test_other_poolings_are_refused_by_name(
    tmp_path, recipe, sentence_layout, pooling, named
) -> None:
    sentence_layout(tmp_path, pooling)
    with pytest.raises(UnsupportedModelError, match=named):
        recipe()


def test_length_case_normalisation_and_prompts(tmp_path, recipe, sentence_layout) -> None:
    (tmp_path / "tokenizer_config.json").write_text(
        '{"model_max_length": 99, "truncation_side": "left"}'
    )
    sentence_layout(
        tmp_path,
        MEAN,
        [("Normalize", {})],
        transformer={"max_seq_length": 40, "do_lower_case": True},
        prompts={
            "prompts": {"query": "ask: ", "document": ""},
            "default_prompt_name": "query",
        },
    )
    found = recipe()
    assert (found.normalize, found.max_length, found.lower_case) == (True, 40, True)
    assert found.cut_front
    assert found.prompts == {"query": "ask: ", "document": "", "": "ask: "}


def test_the_files_of_version_5(tmp_path, recipe, sentence_layout) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 99}')
    sentence_layout(
        tmp_path,
        {"embedding_dimension": 48, "pooling_mode": "mean", "include_prompt": True},
        transformer={
            "transformer_task": "feature-extraction",
            "modality_config": {
                "text": {"method": "forward", "method_output_name": "last_hidden_state"}
            },
            "module_output_name": "token_embeddings",
        },
    )
    entries = json.loads((tmp_path / "modules.json").read_text())
    entries[0]["type"] = "sentence_transformers.base.modules.transformer.Transformer"
    entries[1]["type"] = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
    (tmp_path / "modules.json").write_text(json.dumps(entries))
    assert (recipe().pooling, recipe().max_length) == ("mean", 99)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("WeightedLayerPooling", "WeightedLayerPooling"),
        ("custom_st.Transformer", "custom_st"),
        ("LSTM", "LSTM"),
        ("Pooling", "Transformer, Pooling, Pooling"),
    ],
)
def test_other_modules_are_refused_by_name(tmp_path, recipe, sentence_layout, kind, named) -> None:
    sentence_layout(tmp_path, MEAN, [(kind, {})])
    with pytest.raises(UnsupportedModelError, match=named):
        recipe()


@pytest.mark.parametrize(
    ("transformer", "named"),
    [
        ({"transformer_task": "fill-mask"}, "fill-mask"),
        ({"modality_config": {"image": {}}}, "image"),
        ({"processing_kwargs": {"text": {"add_special_tokens": False}}}, "processing_kwargs"),
        ({"modality_config": {"text": {"method_output_name": "pooler_output"}}}, "pooler_output"),
    ],
)
def test_other_ways_into_the_model_are_refused(
    tmp_path, recipe, sentence_layout, transformer, named
) -> None:
    sentence_layout(tmp_path, MEAN, transformer=transformer)
    with pytest.raises(UnsupportedModelError, match=named):
        recipe()


def test_prompts_that_are_left_out_of_the_pooling(tmp_path, recipe, sentence_layout) -> None:
    sentence_layout(
        tmp_path, {**MEAN, "include_prompt": False}, prompts={"prompts": {"query": "ask: "}}
    )
    with pytest.raises(UnsupportedModelError, match="include_prompt"):
        recipe()


@pytest.mark.parametrize("text", ["[", "{}", '["Transformer"]', '[{"path": ""}]'])
def test_damaged_modules(tmp_path, recipe, text) -> None:
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(ModelFormatError, match=r"modules\.json"):
        recipe()


@pytest.mark.parametrize("folder", ["../other", "/etc"])
def test_modules_stay_in_the_directory(tmp_path, recipe, sentence_layout, folder) -> None:
    sentence_layout(tmp_path, MEAN)
    entries = json.loads((tmp_path / "modules.json").read_text())
    entries[1]["path"] = folder
    (tmp_path / "modules.json").write_text(json.dumps(entries))
    with pytest.raises(ModelFormatError, match="out of the model's directory"):
        recipe()


def test_a_default_prompt_that_is_not_there(tmp_path, recipe, sentence_layout) -> None:
    sentence_layout(tmp_path, MEAN, prompts={"prompts": {}, "default_prompt_name": "query"})
    with pytest.raises(ModelFormatError, match="'query'"):
        recipe()


@pytest.mark.parametrize(
    ("config", "error", "named"),
    [
        ({"activation_function": "evil.Code"}, UnsupportedModelError, r"evil\.Code"),
        ({"use_residual": True}, UnsupportedModelError, "use_residual"),
        ({"in_features": 0}, ModelFormatError, "in_features"),
    ],
)
def test_dense_layers_that_are_not_computed(
    tmp_path, recipe, sentence_layout, config, error, named
) -> None:
    sizes = {"in_features": 48, "out_features": 20}
    sentence_layout(tmp_path, MEAN, [("Dense", {**sizes, **config})])
    with pytest.raises(error, match=named):
        recipe()


def test_dense_weights_in_a_pickle(tmp_path, recipe, sentence_layout) -> None:
    sentence_layout(tmp_path, MEAN, [("Dense", {"in_features": 48, "out_features": 20})])
    (tmp_path / "2_Dense/pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UnsafeModelError, match="2_Dense"):
        recipe()


@pytest.mark.parametrize(("value", "expected"), [(None, "last"), (1, "mean"), (3, "last")])
def test_the_pooling_of_a_gguf(tmp_path, value, expected) -> None:
    description = ModelDescription(
        reference="file.gguf",
        format=ModelFormat.GGUF,
        path=tmp_path / "file.gguf",
        model_type="qwen3",
        config={"qwen3.pooling_type": value},
    )
    assert read_recipe(description, default_pooling="last").pooling == expected
