"""One forward pass of transformers' modelling code over the kit's KV cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from torch import nn

#: The name under which transformers knows the function below.
ATTENTION_NAME = "sagellm_paged"


class AttentionPass(Protocol):
    """What attention layers do during a pass."""

    def attend(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        arguments: dict[str, Any],
    ) -> torch.Tensor:
        """Attention of one layer.

        :param query: [1, num_heads, T, head_dim]; ``key``, ``value``: [1, num_kv_heads, T, ...].
        :param arguments: what else the modelling code passes: ``scaling``, ``sliding_window``,
            ``softcap``, ``s_aux``, ...
        :returns: [1, T, num_heads, value_dim].
        """
        ...


# Not an argument of the forward: by no means every model hands unknown ones down to its layers.
_CURRENT: ContextVar[AttentionPass] = ContextVar("sagellm_attention_pass")


@contextmanager
def attending(current: AttentionPass) -> Iterator[None]:
    """Attention within the block, on this thread, goes to ``current``."""
    token = _CURRENT.set(current)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def register() -> None:
    """Make the attention function known to transformers. May be called again."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION_NAME, _attention)


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **arguments: Any,
) -> tuple[torch.Tensor, None]:
    out = _CURRENT.get().attend(module, query, key, value, attention_mask, arguments)
    return out, None
