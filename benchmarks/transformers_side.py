"""transformers' own ``generate`` over the same weights."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch


class TransformersSide:
    """Greedy generation with default settings: dynamic cache, SDPA attention, float32.

    :param path: a directory of safetensors, or a GGUF file; that is first rewritten as
        safetensors into ``scratch``, because transformers loads it as something quantised.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        from transformers import AutoModelForCausalLM

        if path.suffix == ".gguf":
            path = _convert(path, scratch)
        factory: Any = AutoModelForCausalLM
        self._model = factory.from_pretrained(path, dtype=torch.float32).eval()
        # Both sides run to the same length. Without an end token there is nothing to suppress,
        # so no logits processor costs this side time.
        self._model.generation_config.eos_token_id = None
        self.vocab_size: int = self._model.config.vocab_size

    def generate(self, prompts: list[list[int]], count: int) -> tuple[float, list[list[int]]]:
        """Seconds, and the tokens. All prompts have one length, so there is no padding."""
        ids = torch.tensor(prompts)
        mask = torch.ones_like(ids)
        begin = time.perf_counter()
        with torch.inference_mode():
            out = self._model.generate(
                ids, attention_mask=mask, do_sample=False, max_new_tokens=count, pad_token_id=0
            )
        seconds = time.perf_counter() - begin
        return seconds, out[:, ids.shape[1] :].tolist()


def _convert(path: Path, scratch: Path) -> Path:
    from transformers import AutoModelForCausalLM

    factory: Any = AutoModelForCausalLM
    loaded = factory.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = factory.from_config(config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(scratch)
    return scratch
