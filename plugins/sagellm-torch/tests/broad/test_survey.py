"""Modelling code that cannot be paged is found out when it is loaded, whatever its name."""

from __future__ import annotations

import pytest
import torch
from sagellm_torch.broad.loading import load_broad_decoder

from sagellm_core.contract import UnsupportedModelError
from sagellm_core.models import describe


@pytest.mark.parametrize(
    ("model_type", "changes", "named"),
    [
        ("bloom", {}, "computes attention by itself"),
        ("doge", {}, "DogeAttention"),
        ("diffllama", {}, "DiffLlamaAttention"),
        (
            "qwen2_moe",
            {
                "num_experts": 4,
                "use_sliding_window": True,
                "sliding_window": 9,
                "max_window_layers": 1,
            },
            "window of 9 tokens",
        ),
    ],
)
def test_refused_by_name(model_type, changes, named, tiny_model, plain_adapter) -> None:
    tiny = tiny_model(model_type, **changes)
    with pytest.raises(UnsupportedModelError, match=named):
        load_broad_decoder(describe(tiny.path), plain_adapter(), torch.float32)


def test_layers_are_described_as_they_are_called(tiny_model, load, broad_cases) -> None:
    model = load(tiny_model(broad_cases["gpt_oss"][0], **broad_cases["gpt_oss"][1]).path)
    layers = list(model.decoder._layers.values())
    assert [layer.index for layer in layers] == [0, 1, 2]
    assert [layer.attention.sliding_window for layer in layers] == [9, None, 9]
    assert all(layer.sinks is not None and layer.sinks.shape == (4,) for layer in layers)
    latent = load(tiny_model(broad_cases["deepseek_v3"][0], **broad_cases["deepseek_v3"][1]).path)
    layer = next(iter(latent.decoder._layers.values()))
    assert (layer.key_dim, layer.value_dim, layer.attention.head_dim) == (24, 12, 24)
    assert latent.config.kv_elements_per_token == 2 * 3 * 4 * 24
