"""Which way each model type takes, as the table of docs/models-supported.md.

``python -m sagellm_torch.coverage > docs/models-supported.md`` writes it. Imports no torch.
"""

from __future__ import annotations

from .architecture import SUPPORTED_ENCODER_TYPES, SUPPORTED_MODEL_TYPES
from .broad import PROVEN_MODEL_TYPES

_NATIVE = "native"
_ENCODER = "native encoder"
_BROAD = "through transformers"

_BEGINNING = """\
# Models

Written by `python -m sagellm_torch.coverage > docs/models-supported.md`; a test keeps it so.

A model type (`model_type` of config.json) is supported when a test shows it: a tiny random model of
it gives the tokens of a plain transformers forward, with prompts in chunks, prompts beside
sequences that generate, and scattered cache blocks. Any other type is refused by name.

| path | what computes | files | generates | embeds |
|---|---|---|---|---|
| native | the kit's one decoder; never imports transformers | safetensors, GGUF | yes | yes |
| native encoder | the kit's encoder | safetensors | no | yes |
| through transformers | its modelling code, over the kit's KV cache | safetensors | yes | no |

Types that run through transformers need it installed: `pip install 'sagellm-torch[broad]'`. It is
an extra and not a dependency: it is 130 MB that native models never import. Linear layers and
attention run on the device's own kernels, and layers over one input (q/k/v, gate/up) are computed
together; experts and attention with sinks are computed by plain torch operators. Latent attention
(DeepSeek, GLM-4 MoE Lite, MiniCPM3, Youtu) keeps keys and values in full width, not compressed.
Weights are not quantised while loading.

Refused by name, also within a type that is supported: quantised checkpoints, other heads than
causal language modelling, `layer_types` other than full and sliding attention, chunked,
bidirectional and cross attention, ALiBi, and, through transformers, rotary embeddings whose angles
depend on the batch (`dynamic`, `longrope`) and the sliding windows of `phimoe` and `qwen2_moe`.
"""


def coverage_table() -> str:
    """The whole page, Markdown."""
    paths = {
        **dict.fromkeys(SUPPORTED_MODEL_TYPES, _NATIVE),
        **dict.fromkeys(SUPPORTED_ENCODER_TYPES, _ENCODER),
        **dict.fromkeys(PROVEN_MODEL_TYPES, _BROAD),
    }
    rows = [f"| `{name}` | {paths[name]} |" for name in sorted(paths)]
    count = f"{len(rows)} model types, {len(PROVEN_MODEL_TYPES)} of them through transformers:"
    return "\n".join([_BEGINNING, count, "", "| model type | path |", "|---|---|", *rows]) + "\n"


if __name__ == "__main__":
    print(coverage_table(), end="")
