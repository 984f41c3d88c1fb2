"""Rewrites a GGUF in another type with llama.cpp: ``requantise SOURCE TARGET TYPE``."""

from __future__ import annotations

import sys


def main() -> int:
    import llama_cpp

    source, target, kind = sys.argv[1:]
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    params.allow_requantize = True
    return int(llama_cpp.llama_model_quantize(source.encode(), target.encode(), params))


if __name__ == "__main__":
    sys.exit(main())
