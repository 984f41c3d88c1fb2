"""Rewrites a GGUF as float32 safetensors with transformers: ``to_safetensors SOURCE TARGET``."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, target = map(Path, sys.argv[1:])
    loaded = AutoModelForCausalLM.from_pretrained(
        str(source.parent), gguf_file=source.name, dtype=torch.float32
    )
    config = loaded.config
    # It remembers that its file was quantised, and would be saved as that.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(target)
    # Some that read the directory want one, though all prompts are token ids.
    AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name).save_pretrained(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
