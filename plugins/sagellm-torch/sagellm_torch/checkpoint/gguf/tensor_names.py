"""Names of tensors: from those of ggml to those of a Hugging Face checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sagellm_core.contract import UnsupportedModelError

from .families import Family
from .rope import FACTOR_TENSORS

_BLOCK = re.compile(r"blk\.(0|[1-9][0-9]{0,4})\.([a-z0-9_]+)\.(weight|bias)")
_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "output.bias": "lm_head.bias",
}


def canonical_names(names: Iterable[str], family: Family) -> dict[str, str]:
    """Canonical name -> name in the file.

    :raises UnsupportedModelError: a tensor that the family does not know. Leaving it out
        could change what the model computes.
    """
    canonical: dict[str, str] = {}
    unknown: list[str] = []
    for name in names:
        block = _BLOCK.fullmatch(name)
        if name in _OUTSIDE:
            canonical[_OUTSIDE[name]] = name
        elif block is not None and block[2] in family.blocks:
            canonical[f"model.layers.{block[1]}.{family.blocks[block[2]]}.{block[3]}"] = name
        elif name not in FACTOR_TENSORS:
            unknown.append(name)
    if unknown:
        shown = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise UnsupportedModelError(
            f"The GGUF has {len(unknown)} tensors that {family.model_type} models do not have: "
            f"{shown}.",
            hint="The model is a variant that is not supported; use a plain one of its family.",
        )
    return canonical
