"""Loading through transformers: what is checked, and what becomes of the linear layers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from sagellm_torch import load_model, open_embedder
from sagellm_torch.broad.linears import DeviceLinear, MergedPart

from sagellm_core.contract import (
    EmbedderConfig,
    EngineClosedError,
    LoadOptions,
    ModelFormatError,
    UnsupportedModelError,
    UnsupportedOptionError,
)
from sagellm_core.models import describe


@pytest.fixture
def copied(tmp_path, tiny_model):
    """A tiny OLMo2 whose files a test may damage."""
    path = tmp_path / "model"
    shutil.copytree(tiny_model("olmo2").path, path)
    return path


@pytest.fixture
def open_model(plain_adapter):
    def open_model(path, **options):
        return load_model(
            describe(path), plain_adapter(), LoadOptions(**{"dtype": "float32", **options})
        )

    return open_model


def _modules(model) -> list[torch.nn.Module]:
    return list(model.decoder._model.modules())


def test_layers_over_one_input_are_merged_and_none_is_left(tiny_model, load) -> None:
    modules = _modules(load(tiny_model("olmo2").path))
    parts = [module for module in modules if isinstance(module, MergedPart)]
    assert len(parts) == 3 * (3 + 2)  # q, k, v and gate, up of three layers
    assert sum(isinstance(module, DeviceLinear) for module in modules) == 3 * 2 + 1
    assert not any(isinstance(module, torch.nn.Linear) for module in modules)


def test_merged_layers_give_what_each_gave_alone(tiny_model, load) -> None:
    tiny = tiny_model("starcoder2")
    model = load(tiny.path)
    attention = model.decoder._model.model.layers[1].self_attn
    plain = tiny.reference.model.layers[1].self_attn
    x, other = torch.randn(1, 5, 64), torch.randn(1, 5, 64)
    with torch.inference_mode():
        # Calls for another input in between, as another thread may make them.
        query = attention.q_proj(x)
        attention.q_proj(other)
        found = (query, attention.k_proj(x), attention.v_proj(x), attention.k_proj(other))
        expected = (plain.q_proj(x), plain.k_proj(x), plain.v_proj(x), plain.k_proj(other))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_missing_tensors_are_not_made_up(copied, open_model) -> None:
    file = copied / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelFormatError, match=r"model.layers.1.mlp.up_proj.weight"):
        open_model(copied)


def test_left_over_tensors_are_refused(copied, open_model) -> None:
    file = copied / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.extra.weight"] = torch.zeros(2)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelFormatError, match=r"mlp.extra.weight"):
        open_model(copied)


def test_quantised_checkpoints_are_refused(copied, open_model) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8"}
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match="fp8"):
        open_model(copied)


def test_quantising_while_loading_is_refused(copied, open_model) -> None:
    with pytest.raises(UnsupportedOptionError, match="int8"):
        open_model(copied, quantization="int8")


def test_it_does_not_embed(copied, open_model) -> None:
    model = open_model(copied)
    with pytest.raises(UnsupportedModelError, match="only generates"):
        open_embedder(model, EmbedderConfig())


def test_closing_gives_the_weights_back(copied, open_model) -> None:
    model = open_model(copied)
    model.close()
    model.close()
    with pytest.raises(EngineClosedError):
        _ = model.decoder


def test_without_transformers_the_command_is_named(tmp_path, tiny_model) -> None:
    # A package of that name that cannot be imported stands before the real one.
    absent = tmp_path / "transformers"
    absent.mkdir()
    (absent / "__init__.py").write_text("raise ImportError('No module named transformers')")
    code = f"""
from sagellm_core.contract import ConfigurationError, LoadOptions
from sagellm_core.models import describe
from sagellm_torch import DeviceAdapter, load_model
try:
    load_model(describe({str(tiny_model("olmo2").path)!r}), DeviceAdapter("cpu"), LoadOptions())
except ConfigurationError as error:
    print(error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.strip() == "pip install 'sagellm-torch[broad]'"
