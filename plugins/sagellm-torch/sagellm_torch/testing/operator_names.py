"""Operators by the names that people use for them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache

import torch
from torch._ops import OpOverload

#: Names that stand for a copy or a look of the host, whatever torch's operator is called.
COPY_TO_DEVICE, COPY_TO_HOST, ITEM = "copy_to_device", "copy_to_host", "item"
_SPECIAL = (COPY_TO_DEVICE, COPY_TO_HOST, ITEM)


def operator_name(func: OpOverload) -> str:
    """``mm``, ``index_add_``; with its namespace where it is not torch's own: ``vendor::norm``."""
    name = func.overloadpacket.__name__
    if func.namespace != "aten":
        return f"{func.namespace}::{name}"
    return ITEM if name == "_local_scalar_dense" else name


def check_names(names: Iterable[str]) -> frozenset[str]:
    """The names, once each is known to be an operator's.

    :raises ValueError: torch has no operator of that name.
    """
    found = frozenset(names)
    for name in sorted(found):
        if name not in _SPECIAL and "::" not in name and not hasattr(torch.ops.aten, name):
            close = get_close_matches(name, (*_SPECIAL, *_known()), n=1)
            hint = f"Did you mean {close[0]!r}?" if close else "Names are those of torch.ops.aten."
            raise ValueError(f"torch has no operator {name!r}. {hint}")
    return found


@cache
def _known() -> tuple[str, ...]:
    names = torch._C._dispatch_get_all_op_names()
    short = {name.removeprefix("aten::").partition(".")[0] for name in names}
    return tuple(sorted(name for name in short if "::" not in name))
