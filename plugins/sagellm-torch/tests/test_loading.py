"""Loading: options, memory, and checkpoints that do not fit their config."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from sagellm_torch import DeviceAdapter, DeviceMemory, load_model

from sagellm_core.contract import (
    ConfigurationError,
    InsufficientMemoryError,
    LoadedModel,
    LoadOptions,
    ModelFormatError,
    UnsupportedModelError,
    UnsupportedOptionError,
)
from sagellm_core.models import describe


@pytest.fixture
def copy(tiny_model, tmp_path):
    """A copy of a tiny model whose config and tensors can be changed."""

    def make(model_type="llama", *, config=(), tensors=None, **changes):
        path = tmp_path / "model"
        shutil.copytree(tiny_model(model_type, **changes).path, path)
        if config:
            file = path / "config.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), **dict(config)}))
        if tensors:
            weights = load_file(path / "model.safetensors")
            tensors(weights)
            save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
        return path

    return make


def _load(path, adapter=None, **options):
    return load_model(describe(path), adapter or DeviceAdapter("cpu"), LoadOptions(**options))


def test_what_is_loaded(tiny_model) -> None:
    path = tiny_model("llama").path
    model = _load(path)
    assert isinstance(model, LoadedModel)
    assert (model.dtype, model.quantization, model.notes) == ("float32", "none", ())
    assert model.max_model_len == 512
    assert model.description.path == path
    assert model.tokenizer.vocab_size == 199
    model.close()
    model.close()


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        (None, 2, {2}),
        ([5, 7], 2, {5, 7}),
        (9, None, {9}),
        (None, None, set()),
        (None, [1, 4], {1, 4}),
    ],
)
def test_end_of_sequence_tokens(copy, generation, config, expected) -> None:
    path = copy(config={"eos_token_id": config})
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": generation}))
    assert _load(path).eos_token_ids == expected


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_type_asked_for(tiny_model, dtype) -> None:
    assert _load(tiny_model("llama").path, dtype=dtype).dtype == dtype


def test_options_that_are_not_known_or_not_offered(tiny_model) -> None:
    path = tiny_model("llama").path
    with pytest.raises(ConfigurationError, match="'float23'") as caught:
        _load(path, dtype="float23")
    assert "float32" in caught.value.hint
    with pytest.raises(UnsupportedOptionError, match="'int8'"):
        _load(path, quantization="int8")
    assert _load(path, quantization="none").quantization == "none"


def test_an_unknown_provider_option_is_named_with_the_nearest() -> None:
    class Optioned(DeviceAdapter):
        option_names = ("threads", "streams")

    with pytest.raises(ConfigurationError, match="'thread' is unknown") as caught:
        Optioned("cpu", {"thread": 1})
    assert "'threads'" in caught.value.hint
    with pytest.raises(ConfigurationError) as caught:
        Optioned("cpu", {"zzz": 1})
    assert "streams, threads" in caught.value.hint


def test_progress_is_reported_in_bytes(tiny_model) -> None:
    seen = []
    model = _load(tiny_model("llama").path, on_progress=lambda *news: seen.append(news))
    stages, done, totals = zip(*seen, strict=True)
    assert set(stages) == {"loading weights"}
    assert set(totals) == {model.config.parameter_count * 4}
    assert list(done) == sorted(done)
    assert (done[0], done[-1]) == (0, totals[0])


def test_too_little_memory_is_found_before_a_weight_is_read(tiny_model) -> None:
    class Full(DeviceAdapter):
        def memory(self):
            return DeviceMemory(2**30, 100_000)

        def linear(self, weight, bias, *, shared=False):
            raise AssertionError("a weight was read")

    with pytest.raises(InsufficientMemoryError, match=r"needs .* GiB .* of 1.00 GiB are free"):
        _load(tiny_model("llama").path, Full("cpu"))


def test_memory_that_runs_out_while_loading(tiny_model) -> None:
    class Shrinking(DeviceAdapter):
        def linear(self, weight, bias, *, shared=False):
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(InsufficientMemoryError, match="Memory ran out while loading"):
        _load(tiny_model("llama").path, Shrinking("cpu"))


def test_a_missing_tensor_is_named(copy) -> None:
    path = copy(tensors=lambda w: w.pop("model.layers.1.mlp.down_proj.weight"))
    with pytest.raises(ModelFormatError, match=r"model\.layers\.1\.mlp\.down_proj\.weight.*64, 96"):
        _load(path)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(copy) -> None:
    path = copy(config={"intermediate_size": 100})
    with pytest.raises(ModelFormatError, match=r"gate_proj.*\[96, 64\].*\[100, 64\]"):
        _load(path)


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.sinks",
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.self_attn.q_norm.weight",
        "model.layers.3.input_layernorm.weight",
    ],
)
def test_tensors_that_the_decoder_would_leave_out_are_refused(copy, name) -> None:
    def add(weights):
        weights[name] = torch.zeros(4)

    with pytest.raises(UnsupportedModelError, match=name):
        _load(copy(tensors=add))


def test_computed_buffers_of_old_checkpoints_are_ignored(copy) -> None:
    def add(weights):
        weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)

    assert _load(copy(tensors=add)).dtype == "float32"


def test_a_tied_head_needs_no_tensor_and_ignores_one(copy, tiny_model) -> None:
    path = tiny_model("llama", tie_word_embeddings=True).path
    assert "lm_head.weight" not in load_file(path / "model.safetensors")
    _load(path)

    def add(weights):
        weights["lm_head.weight"] = torch.zeros(199, 64)

    _load(copy(tensors=add, tie_word_embeddings=True))


def test_an_unsupported_architecture_is_named(copy) -> None:
    path = copy(config={"model_type": "mamba", "architectures": ["MambaForCausalLM"]})
    with pytest.raises(UnsupportedModelError, match="MambaForCausalLM") as caught:
        _load(path)
    assert "llama" in caught.value.hint
    assert "qwen3" in caught.value.hint
