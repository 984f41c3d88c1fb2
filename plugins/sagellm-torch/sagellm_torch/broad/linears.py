"""Linear layers of transformers' modelling code, computed by the device."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import nn

from sagellm_torch.adapter import DeviceAdapter
from sagellm_torch.linear import Linear


class DeviceLinear(nn.Module):
    """Stands where a linear layer stood; ``x [..., in] -> [..., out]``."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self._linear = linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T + bias``."""
        return self._linear(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)


class MergedLinear:
    """Layers over one input, computed together when the first of them is called."""

    def __init__(self, linear: Linear, sizes: Sequence[int]) -> None:
        self._linear = linear
        self._sizes = list(sizes)
        # One tuple, read and written at once: runners of one model may be on several threads,
        # and one that finds another's input here computes again.
        self._last: tuple[torch.Tensor, tuple[torch.Tensor, ...]] | None = None

    def part(self, which: int, x: torch.Tensor) -> torch.Tensor:
        """The output of layer ``which`` for ``x``."""
        last = self._last
        # Holding the input makes its identity a proof: no other tensor can take its place.
        if last is None or last[0] is not x:
            out = self._linear(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], -1)
            last = (x, torch.split(out, self._sizes, dim=-1))
            self._last = last
        if which == len(self._sizes) - 1:
            self._last = None
        return last[1][which]


class MergedPart(nn.Module):
    """Stands where one of several merged layers stood."""

    def __init__(self, merged: MergedLinear, which: int) -> None:
        super().__init__()
        self._merged = merged
        self._which = which

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """This layer's ``x @ weight.T + bias``."""
        return self._merged.part(self._which, x)


def replace_linears(
    model: nn.Module,
    siblings: Sequence[Sequence[nn.Module]],
    adapter: DeviceAdapter,
    *,
    shared: Collection[int],
) -> None:
    """Let the device compute a model's linear layers, those over one input together.

    :param siblings: layers over one input, in the order in which they are called.
    :param shared: ``id`` of the weights that stay in memory for another use (tied embeddings).
    """
    replacements: dict[nn.Module, nn.Module] = {}
    for group in siblings:
        pairs = [weight_and_bias(module) for module in group]
        mergeable = len({bias is None for _, bias in pairs}) == 1
        if mergeable and not any(id(module.weight) in shared for module in group):
            merged = MergedLinear(
                adapter.merged_linear([w for w, _ in pairs], [b for _, b in pairs]),
                [weight.shape[0] for weight, _ in pairs],
            )
            for which, module in enumerate(group):
                replacements[module] = MergedPart(merged, which)
                _forget(module)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if child not in replacements and type(child) in linear_classes():
                weight, bias = weight_and_bias(child)
                tied = id(child.weight) in shared
                replacements[child] = DeviceLinear(adapter.linear(weight, bias, shared=tied))
                if not tied:
                    _forget(child)
            if child in replacements:
                setattr(parent, name, replacements[child])


def linear_classes() -> tuple[type[nn.Module], ...]:
    """``torch.nn.Linear`` and the transposed one of GPT-2; not their subclasses."""
    from transformers.pytorch_utils import Conv1D

    return (nn.Linear, Conv1D)


def weight_and_bias(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The weight as [out, in], and the bias or ``None``."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, torch.Tensor)
    detached = weight.detach()
    if not isinstance(module, nn.Linear):
        detached = detached.t().contiguous()
    return detached, bias.detach() if isinstance(bias, torch.Tensor) else None


def _forget(module: nn.Module) -> None:
    # The survey, or the caller, may hold the module; its weight must not stay for that.
    module.register_parameter("weight", None)
    module.register_parameter("bias", None)
