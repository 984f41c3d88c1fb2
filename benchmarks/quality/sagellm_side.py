"""sagellm through the model that its runner drives: the same steps, with more rows wanted."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .child import Opened, serve

if TYPE_CHECKING:
    import numpy as np


def open_side(
    model: str,
    *,
    threads: int,
    context: int,
    quantization: str | None = None,
    dtype: str = "auto",
) -> Opened:
    """Load it as :mod:`.child` asks.

    :raises SystemExit: the provider refuses, with its reason.
    """
    from sagellm_core.contract import LoadOptions, SageLLMError
    from sagellm_core.providers import Controls, choose_provider, load_provider
    from sagellm_core.session import cache_directory

    provider = load_provider(choose_provider(model, Controls.from_environment(backend="cpu")))
    options = LoadOptions(
        dtype=dtype,
        quantization=quantization,
        cache_dir=cache_directory(),
        provider_options={"threads": threads},
    )
    try:
        loaded: Any = provider.load_model(options)
    except SageLLMError as error:
        sys.exit(str(error))

    def encode(text: str) -> list[int]:
        tokens: list[int] = loaded.tokenizer.encode(text, add_special_tokens=False)
        return tokens

    scorer = Scorer(loaded, context)
    return Opened(scorer.score, f"{loaded.dtype}, {loaded.quantization}", encode)


class Scorer:
    """Prefills one text at a time and gives the logits of many of its rows.

    A runner samples from one row of each sequence. This builds its steps as the runner does and
    hands them to the same decoder, so that the same kernels are measured.

    :param model: a loaded model of the kit that generates.
    :param context: most tokens of a text.
    """

    def __init__(self, model: Any, context: int) -> None:
        from sagellm_torch.rotary import RotaryTable
        from sagellm_torch.sizing import cache_shape
        from sagellm_torch.slots import SlotTable
        from sagellm_torch.step_builder import StepBuilder

        from sagellm_core.contract import RunnerConfig

        adapter = model.adapter
        config = RunnerConfig(max_slots=1, max_model_len=context)
        shape = cache_shape(model.config, config, adapter, model.torch_dtype)
        self._model = model
        self._cache = adapter.allocate_cache(shape)
        ropes = [RotaryTable(rope, context, adapter.device) for rope in model.config.ropes]
        switches = [rope.switch_length for rope in ropes if rope.switch_length is not None]
        if switches and context > min(switches):
            sys.exit(f"The window is longer than {min(switches)} tokens, where LongRoPE switches.")
        slots = SlotTable(1, context, self._cache, adapter.device, adapter.upload)
        self._builder = StepBuilder(slots, ropes, None, adapter.upload)
        self._block_size = shape.block_size

    def score(self, tokens: list[int], first: int) -> np.ndarray:
        """Logits of the rows ``first`` to the last, [rows, vocab] float32."""
        import torch
        from sagellm_torch.sampling import RowState

        from sagellm_core.contract import PrefillRow, SamplingParams, SlotStart

        sampling = SamplingParams(temperature=0, seed=0)
        state = RowState(sampling, self._model.config.vocab_size)
        row = PrefillRow(
            slot=0,
            token_ids=tokens,
            start=0,
            new_blocks=tuple(range(-(-len(tokens) // self._block_size))),
            begin=SlotStart(sampling=sampling, prompt_len=len(tokens)),
        )
        with torch.inference_mode():
            step, _ = self._builder.prefill([row], [state])
            wanted = self._model.adapter.upload(range(first, len(tokens)))
            logits = self._model.decoder.prefill(replace(step, logits_index=wanted), self._cache)
        given: np.ndarray = logits.float().cpu().numpy()
        return given


if __name__ == "__main__":
    from importlib.metadata import version

    sys.exit(serve(version("sagellm-core"), open_side))
