"""onnxruntime-genai's ``Generator`` over a model of its own builder."""

from __future__ import annotations

import json
import sys

from .child import Opened, serve


def _open(model: str, *, threads: int, context: int, batch: int, precision: str) -> Opened:
    import numpy as np
    import onnxruntime_genai

    config = onnxruntime_genai.Config(model)
    session = {"intra_op_num_threads": threads}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
    loaded = onnxruntime_genai.Model(config)

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        length = len(prompts[0]) + new_tokens
        params = onnxruntime_genai.GeneratorParams(loaded)
        # A least length is how it is kept from ending early.
        params.set_search_options(
            do_sample=False, batch_size=len(prompts), min_length=length, max_length=length
        )
        generator = onnxruntime_genai.Generator(loaded, params)
        generator.append_tokens(np.array(prompts, dtype=np.int32))
        answers: list[list[int]] = [[] for _ in prompts]
        for _ in range(new_tokens):
            generator.generate_next_token()
            for answer, token in zip(answers, generator.get_next_tokens(), strict=True):
                answer.append(int(token))
        return answers

    return Opened(generate, precision)


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve(version("onnxruntime-genai"), _open))
