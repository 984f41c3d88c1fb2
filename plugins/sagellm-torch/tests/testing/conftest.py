"""The simulated device, and tiny models on it beside the same on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sagellm_torch import DeviceAdapter, TorchModel, load_model
from sagellm_torch.testing import SimAdapter, SimDevice
from sagellm_torch.testing.fixtures import sim, sim_provider

from sagellm_core.contract import LoadOptions
from sagellm_core.models import describe

__all__ = ["sim", "sim_provider"]


@pytest.fixture
def on_sim(sim: SimDevice) -> Callable[..., TorchModel]:
    """Load a model onto the simulated device: ``on_sim(path, dtype="bfloat16")``."""

    def loaded(path: Path, adapter: DeviceAdapter | None = None, **options: Any) -> TorchModel:
        options.setdefault("dtype", "float32")
        return load_model(describe(path), adapter or SimAdapter(), LoadOptions(**options))

    return loaded


@pytest.fixture(scope="session")
def on_cpu() -> Callable[..., TorchModel]:
    """The same on the CPU, by the kit's plain operators."""

    class Plain(DeviceAdapter):
        quantizations = SimAdapter.quantizations
        encoder_quantizations = SimAdapter.encoder_quantizations

    def loaded(path: Path, **options: Any) -> TorchModel:
        options.setdefault("dtype", "float32")
        return load_model(describe(path), Plain("cpu"), LoadOptions(**options))

    return loaded


@pytest.fixture(scope="session")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny random encoder on disk: ``encoder_path("bert")``."""
    made: dict[str, Path] = {}

    def make(model_type: str) -> Path:
        if model_type not in made:
            from transformers import AutoConfig, AutoModel

            torch.manual_seed(5)
            config = AutoConfig.for_model(
                model_type,
                hidden_size=48,
                intermediate_size=80,
                num_hidden_layers=2,
                num_attention_heads=4,
                vocab_size=199,
                max_position_embeddings=66,
                initializer_range=0.3,
                pad_token_id=1,
            )
            made[model_type] = tmp_path_factory.mktemp(model_type)
            AutoModel.from_config(config).eval().save_pretrained(made[model_type])
        return made[model_type]

    return make
