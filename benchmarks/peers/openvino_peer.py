"""OpenVINO GenAI's ``LLMPipeline`` over a GGUF file."""

from __future__ import annotations

import sys

from .child import Generate, serve


def _open(model: str, *, threads: int, context: int, batch: int, quantization: str) -> Generate:
    import numpy as np
    import openvino
    import openvino_genai

    pipeline = openvino_genai.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        settings = openvino_genai.GenerationConfig()
        settings.max_new_tokens = new_tokens
        settings.do_sample = False
        settings.ignore_eos = True
        ids = np.array(prompts, dtype=np.int64)
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids))
        )
        done = pipeline.generate(inputs, settings)
        return [list(row) for row in done.tokens]

    return generate


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve(version("openvino-genai"), _open))
