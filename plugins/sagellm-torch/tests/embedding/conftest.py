"""Tiny random encoders in sentence-transformers' layout, and what transformers makes of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sagellm_torch import DeviceAdapter, TorchEmbedder, load_model, open_embedder

from sagellm_core.contract import EmbedderConfig, LoadOptions
from sagellm_core.models import describe

VOCAB = 211
_SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": VOCAB,
    "max_position_embeddings": 66,
    "initializer_range": 0.3,
    "pad_token_id": 1,
}
_DISTILBERT = {"dim": 48, "hidden_dim": 80, "n_layers": 3, "n_heads": 4}


@dataclass
class TinyEncoder:
    """An encoder on disk and the same encoder in transformers."""

    path: Path
    reference: Any

    def pooled(self, ids: Sequence[int], pooling: str) -> np.ndarray:
        """The vector of one text, computed alone and without padding."""
        with torch.inference_mode():
            states = self.reference(input_ids=torch.tensor([list(ids)])).last_hidden_state[0]
        return {
            "mean": states.mean(0),
            "max": states.amax(0),
            "cls": states[0],
            "last": states[-1],
        }[pooling].numpy()


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TinyEncoder]:
    """Make (once) a tiny random encoder: ``tiny_encoder("bert", hidden_act="relu")``."""
    made: dict[str, TinyEncoder] = {}

    def make(model_type: str, *, head: str = "", **changes: Any) -> TinyEncoder:
        key = repr((model_type, head, sorted(changes.items(), key=str)))
        if key not in made:
            path = tmp_path_factory.mktemp(model_type)
            made[key] = _make(path, model_type, head, changes)
        return made[key]

    return make


def _make(path: Path, model_type: str, head: str, changes: dict[str, Any]) -> TinyEncoder:
    import transformers

    torch.manual_seed(5)
    sizes = {**_SIZES, **(_DISTILBERT if model_type == "distilbert" else {}), **changes}
    config = transformers.AutoConfig.for_model(model_type, **sizes)
    factory: Any = getattr(transformers, f"AutoModel{head}")
    model = factory.from_config(config).eval()
    for name, parameter in model.named_parameters():
        # Norms and biases begin as constants, which would hide a mix-up.
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.0 if "bias" in name else 0.7, std=0.2)
    model.save_pretrained(path)
    return TinyEncoder(path, model.base_model)


@pytest.fixture
def open_tiny() -> Callable[..., TorchEmbedder]:
    """Load a directory and open an embedder over it."""

    def opened(path: Path, adapter: DeviceAdapter | None = None, **config: Any) -> TorchEmbedder:
        model = load_model(
            describe(path), adapter or DeviceAdapter("cpu"), LoadOptions(dtype="float32")
        )
        return open_embedder(model, EmbedderConfig(**config))

    return opened


@pytest.fixture
def token_ids() -> Callable[..., list[list[int]]]:
    """Random token ids: ``token_ids([5, 40])``; none of them is the padding token."""

    def make(lengths: Sequence[int], seed: int = 3) -> list[list[int]]:
        rng = random.Random(seed)
        return [[rng.randrange(3, 199) for _ in range(length)] for length in lengths]

    return make


@pytest.fixture
def sentence_layout() -> Callable[..., None]:
    """Write the files of sentence-transformers into a directory.

    ``pooling`` is the config of the Pooling module; ``modules`` come after it, as (kind, config).
    """

    def write(
        path: Path,
        pooling: dict[str, Any],
        modules: Sequence[tuple[str, dict[str, Any]]] = (),
        *,
        transformer: dict[str, Any] | None = None,
        prompts: dict[str, Any] | None = None,
    ) -> None:
        chain = [("Transformer", "", None), ("Pooling", "1_Pooling", pooling)]
        chain += [(kind, f"{i}_{kind}", config) for i, (kind, config) in enumerate(modules, 2)]
        entries = []
        for index, (kind, folder, config) in enumerate(chain):
            dotted = kind if "." in kind else f"sentence_transformers.models.{kind}"
            entries.append({"idx": index, "name": str(index), "path": folder, "type": dotted})
            if config is not None:
                (path / folder).mkdir(parents=True, exist_ok=True)
                (path / folder / "config.json").write_text(json.dumps(config))
        (path / "modules.json").write_text(json.dumps(entries))
        if transformer is not None:
            (path / "sentence_bert_config.json").write_text(json.dumps(transformer))
        if prompts is not None:
            (path / "config_sentence_transformers.json").write_text(json.dumps(prompts))

    return write
