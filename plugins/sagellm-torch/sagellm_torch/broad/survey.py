"""What a model's layers do, found out by one pass over two tokens.

Names of sub-modules differ from model to model; who is called with what does not lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sagellm_core.contract import UnsupportedModelError
from sagellm_torch.attention import AttentionConfig

from .paged_pass import attending

_TOKENS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PagedLayer:
    """One attention layer."""

    #: Its place in the KV cache.
    index: int
    key_dim: int
    value_dim: int
    #: ``head_dim`` is the wider of ``key_dim`` and ``value_dim``.
    attention: AttentionConfig
    #: A logit a head that takes part in the softmax and has no value, [num_heads] (gpt-oss).
    sinks: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Survey:
    """What the pass found."""

    layers: dict[nn.Module, PagedLayer]
    #: Linear layers that were called one after another with the very same tensor.
    siblings: tuple[tuple[nn.Module, ...], ...]


def survey(model: nn.Module, linears: tuple[type[nn.Module], ...], name: str) -> Survey:
    """Find a model's attention layers, and linear layers that share their input.

    :param linears: classes of linear layers.
    :param name: of the model, for the message.
    :raises UnsupportedModelError: its attention is not the kind that can be paged here.
    """
    watch = _Watch(name)
    parents = {child: parent for parent in model.modules() for child in parent.children()}
    hooks = [
        module.register_forward_pre_hook(watch.linear)
        for module in model.modules()
        if type(module) in linears
    ]
    device = next(model.parameters()).device
    tokens = torch.arange(_TOKENS, device=device).unsqueeze(0)
    try:
        # Not inference mode: its tensors do not count the times they were written to.
        with torch.no_grad(), attending(watch):
            model(input_ids=tokens, position_ids=tokens, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    if not watch.layers:
        raise UnsupportedModelError(
            f"{name}: its modelling code computes attention by itself.",
            hint="Its keys cannot be kept in blocks; use another model.",
        )
    shapes = {
        (layer.attention.num_kv_heads, layer.attention.head_dim) for layer in watch.layers.values()
    }
    if len(shapes) != 1:
        raise UnsupportedModelError(
            f"{name} has attention layers of {len(shapes)} shapes (key-value heads, head size): "
            f"{sorted(shapes)}.",
            hint="Models whose layers have one shape are supported; use another model.",
        )
    return Survey(watch.layers, watch.siblings(parents))


class _Watch:
    """Notes calls, and answers attention with zeros."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.layers: dict[nn.Module, PagedLayer] = {}
        #: Linear layer, the tensor it was given, and how often that had been written to.
        self._calls: list[tuple[nn.Module, torch.Tensor, int]] = []

    def linear(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._calls.append((module, inputs[0], inputs[0]._version))

    def attend(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        arguments: dict[str, Any],
    ) -> torch.Tensor:
        if mask is not None or module in self.layers or getattr(module, "is_causal", True) is False:
            raise UnsupportedModelError(
                f"{self._name}: {type(module).__name__} attends with a mask of its own, more than "
                "once a pass, or to later tokens.",
                hint="Its keys cannot be kept in blocks; use another model.",
            )
        key_dim, value_dim = key.shape[-1], value.shape[-1]
        scale, window = arguments.get("scaling"), arguments.get("sliding_window")
        sinks = arguments.get("s_aux")
        self.layers[module] = PagedLayer(
            index=len(self.layers),
            key_dim=key_dim,
            value_dim=value_dim,
            attention=AttentionConfig(
                num_heads=query.shape[1],
                num_kv_heads=key.shape[1],
                head_dim=max(key_dim, value_dim),
                scale=float(key_dim**-0.5 if scale is None else scale),
                softcap=arguments.get("softcap"),
                sliding_window=window,
            ),
            sinks=None if sinks is None else sinks.detach().flatten(),
        )
        return query.new_zeros((1, query.shape[2], query.shape[1], value_dim))

    def siblings(self, parents: dict[nn.Module, nn.Module]) -> tuple[tuple[nn.Module, ...], ...]:
        called = [module for module, _, _ in self._calls]
        groups: list[list[nn.Module]] = []
        last: tuple[nn.Module, torch.Tensor, int] | None = None
        for module, tensor, version in self._calls:
            if called.count(module) > 1:
                last = None
                continue
            same = last is not None and last[1] is tensor and last[2] == version
            if same and last is not None and parents[last[0]] is parents[module]:
                groups[-1].append(module)
            else:
                groups.append([module])
            last = (module, tensor, version)
        return tuple(tuple(group) for group in groups if len(group) > 1)
