"""llama.cpp through the low-level functions of llama-cpp-python."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

from .child import Opened, serve

if TYPE_CHECKING:
    import numpy


def _open(model: str, *, threads: int, context: int) -> Opened:
    import llama_cpp
    import numpy as np

    llama_cpp.llama_backend_init()
    loaded = llama_cpp.llama_model_load_from_file(
        model.encode(), llama_cpp.llama_model_default_params()
    )
    if not loaded:
        raise RuntimeError(f"llama.cpp could not load {model}")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = context
    params.n_threads = params.n_threads_batch = threads
    opened = llama_cpp.llama_init_from_model(loaded, params)
    if not opened:
        raise RuntimeError("llama.cpp could not open a context")
    vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(loaded))
    rows = llama_cpp.llama_batch_init(context, 0, 1)

    def score(tokens: list[int], first: int) -> numpy.ndarray:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(opened), True)
        rows.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            rows.token[i], rows.pos[i], rows.n_seq_id[i] = token, i, 1
            rows.seq_id[i][0], rows.logits[i] = 0, i >= first
        code = llama_cpp.llama_decode(opened, rows)
        if code:
            raise RuntimeError(f"llama_decode returned {code}")
        logits = np.empty((len(tokens) - first, vocab_size), np.float32)
        for i in range(first, len(tokens)):
            given = llama_cpp.llama_get_logits_ith(opened, i)
            logits[i - first] = np.ctypeslib.as_array(given, shape=(vocab_size,))
        return logits

    text = ctypes.create_string_buffer(128)
    llama_cpp.llama_model_desc(loaded, text, len(text))
    return Opened(score, text.value.decode())


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve(version("llama-cpp-python"), _open))
