"""transformers' own ``generate``: dynamic cache, SDPA attention, float32."""

from __future__ import annotations

import sys

from .child import Opened, serve


def _open(model: str, *, threads: int, context: int, batch: int) -> Opened:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    # Without an end token there is nothing to suppress, so no logits processor costs time.
    loaded.generation_config.eos_token_id = None

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            out = loaded.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=new_tokens,
                pad_token_id=0,
            )
        tokens: list[list[int]] = out[:, ids.shape[1] :].tolist()
        return tokens

    return Opened(generate, "float32")


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve(version("transformers"), _open))
