"""llama.cpp through the low-level functions of llama-cpp-python, so that it batches."""

from __future__ import annotations

import ctypes
import sys

from .child import Opened, serve


def _open(model: str, *, threads: int, context: int, batch: int) -> Opened:
    import llama_cpp
    import numpy as np

    llama_cpp.llama_backend_init()
    loaded = llama_cpp.llama_model_load_from_file(
        model.encode(), llama_cpp.llama_model_default_params()
    )
    if not loaded:
        raise RuntimeError(f"llama.cpp could not load {model}")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = context * batch
    params.n_batch = context * batch
    params.n_seq_max = batch
    params.n_threads = params.n_threads_batch = threads
    opened = llama_cpp.llama_init_from_model(loaded, params)
    if not opened:
        raise RuntimeError("llama.cpp could not open a context")
    vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(loaded))
    rows = llama_cpp.llama_batch_init(context * batch, 0, 1)

    def step(tokens: list[tuple[int, int, int, bool]]) -> list[int]:
        """Decode (token, position, sequence, whether to sample) and pick the best tokens."""
        rows.n_tokens = len(tokens)
        for i, (token, position, sequence, wanted) in enumerate(tokens):
            rows.token[i], rows.pos[i], rows.n_seq_id[i] = token, position, 1
            rows.seq_id[i][0], rows.logits[i] = sequence, wanted
        code = llama_cpp.llama_decode(opened, rows)
        if code:
            raise RuntimeError(f"llama_decode returned {code}")
        return [
            int(
                np.ctypeslib.as_array(
                    llama_cpp.llama_get_logits_ith(opened, i), shape=(vocab_size,)
                ).argmax()
            )
            for i, row in enumerate(tokens)
            if row[3]
        ]

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(opened), True)
        length = len(prompts[0])
        last = step(
            [
                (token, at, sequence, at == length - 1)
                for sequence, prompt in enumerate(prompts)
                for at, token in enumerate(prompt)
            ]
        )
        answers = [[token] for token in last]
        for at in range(length, length + new_tokens - 1):
            last = step([(token, at, sequence, True) for sequence, token in enumerate(last)])
            for answer, token in zip(answers, last, strict=True):
                answer.append(token)
        return answers

    text = ctypes.create_string_buffer(128)
    llama_cpp.llama_model_desc(loaded, text, len(text))
    return Opened(generate, text.value.decode())


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve(version("llama-cpp-python"), _open))
