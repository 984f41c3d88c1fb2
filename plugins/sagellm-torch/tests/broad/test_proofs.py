"""Every model type that is said to run through transformers, against a plain forward of it."""

from __future__ import annotations

import torch
from sagellm_torch.broad import PROVEN_MODEL_TYPES

_LENGTHS = (5, 23, 40)
_NEW = 6


def test_every_proven_type_has_a_proof(broad_cases) -> None:
    assert {model_type for model_type, _ in broad_cases.values()} == set(PROVEN_MODEL_TYPES)
    assert list(PROVEN_MODEL_TYPES) == sorted(set(PROVEN_MODEL_TYPES))


def test_tokens_and_logits_equal_a_plain_forward(
    broad_case, tiny_model, load, drive, prompts
) -> None:
    model_type, changes = broad_case
    tiny = tiny_model(model_type, **changes)
    model = load(tiny.path)
    seen: list[torch.Tensor] = []
    plain = model.decoder.decode

    class Recording:
        prefill = staticmethod(model.decoder.prefill)

        def decode(self, step, cache):
            seen.append(plain(step, cache))
            return seen[-1]

    model._decoder = Recording()
    batch = prompts(_LENGTHS)
    # Chunks of several sequences packed beside decoding ones, over scattered blocks.
    mixed = drive(model, block_size=4, max_slots=4, max_model_len=64)
    outputs = mixed.generate(batch, _NEW, chunk=7)
    whole = drive(model, block_size=16, scattered=False, max_slots=4, max_model_len=64)
    assert whole.generate(batch, _NEW) == outputs
    for prompt, output in zip(batch, outputs, strict=True):
        logits = tiny.logits(prompt + output)[len(prompt) - 1 : -1]
        assert logits.argmax(-1).tolist() == output
    # The last step of the run without chunks decodes all rows together.
    expected = torch.stack(
        [tiny.logits(p + o[:-1])[-1] for p, o in zip(batch, outputs, strict=True)]
    )
    torch.testing.assert_close(seen[-1], expected, atol=2e-4, rtol=2e-4)
