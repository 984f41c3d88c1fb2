"""OpenVINO GenAI's ``LLMPipeline`` over a GGUF file."""

from __future__ import annotations

import sys
from typing import Any

from .child import Opened, serve


def _open(model: str, *, threads: int, context: int, batch: int, precision: str = "") -> Opened:
    import numpy as np
    import openvino
    import openvino_genai

    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads}
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    pipeline = openvino_genai.LLMPipeline(model, "CPU", **settings)
    # By default it computes in bfloat16 where the processor can.
    computes = (
        precision or openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
    )

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        wanted = openvino_genai.GenerationConfig()
        wanted.max_new_tokens = new_tokens
        wanted.do_sample = False
        wanted.ignore_eos = True
        ids = np.array(prompts, dtype=np.int64)
        inputs = openvino_genai.TokenizedInputs(
            openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids))
        )
        done = pipeline.generate(inputs, wanted)
        return [list(row) for row in done.tokens]

    return Opened(generate, computes)


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve(version("openvino-genai"), _open))
