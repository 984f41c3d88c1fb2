"""The sizes of a model that runs through transformers."""

from __future__ import annotations

from dataclasses import dataclass

from sagellm_torch.architecture import RopeConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadConfig:
    """What the runner and the KV cache have to know; sizes in elements."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_kv_heads: int
    #: Width of a key or a value in the cache, whichever is larger.
    head_dim: int
    max_position_embeddings: int

    @property
    def ropes(self) -> tuple[RopeConfig, ...]:
        """None: the modelling code rotates by itself, from positions."""
        return ()

    @property
    def kv_elements_per_token(self) -> int:
        """Elements that one token takes in the KV cache, over all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim
