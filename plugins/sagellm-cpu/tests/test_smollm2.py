"""A real model through the real engine, token for token beside transformers."""

from __future__ import annotations

import pytest
from sagellm_cpu import plugin

from sagellm_core.contract import EngineConfig, RunnerConfig, SamplingParams
from sagellm_core.engine import EngineClient, LLMEngine

_NEW = 16
_LENGTHS = (5, 6, 9, 15, 16, 17, 24, 32, 33, 48, 64, 65, 100, 128, 150, 200, 257, 400, 513, 800)
_PASSAGES = (
    "The lighthouse keeper climbed the hundred and twelve steps every evening, lamp oil in one "
    "hand and a book in the other. From the gallery she could see the fishing boats come home, "
    "each with its own coloured lantern, and she wrote down the order in which they passed. ",
    "To bake bread, mix 500 grams of flour with 350 millilitres of warm water, ten grams of salt "
    "and a spoon of yeast. Knead the dough until it is smooth, let it rest for an hour, shape "
    "it, and bake it at 230 degrees for thirty-five minutes. ",
    "def area(width: float, height: float) -> float:\n    if width < 0 or height < 0:\n"
    "        raise ValueError('sides must not be negative')\n    return width * height\n\n",
    "Question: which planet has the most moons? Answer: Saturn, with more than one hundred "
    "known moons. Question: why is the sky blue? Answer: because air scatters short waves of "
    "light more strongly than long ones. ",
    "In 1783 two brothers in Annonay let a balloon of paper and cloth rise above the market "
    "square; it drifted for ten minutes and came down in a vineyard, where it frightened "
    "the farmers. Within a year people were flying themselves. ",
)


@pytest.fixture(scope="module")
def prompts(smollm2) -> list[list[int]]:
    """Twenty prompts of 5 to 800 tokens, each beginning elsewhere."""
    made = []
    for i, length in enumerate(_LENGTHS):
        turned = _PASSAGES[i % 5 :] + _PASSAGES[: i % 5]
        tokens = smollm2.tokenizer.encode("".join(turned) * 4)
        made.append(tokens[i : i + length])
    assert [len(prompt) for prompt in made] == list(_LENGTHS)
    return made


@pytest.fixture(scope="module")
def expected(transformers_greedy, prompts) -> list[list[int]]:
    # Prompts of like length share a batch of transformers: less than a third of the time.
    groups = [prompts[i : i + 4] for i in range(0, len(prompts), 4)]
    return [tokens for group in groups for tokens in transformers_greedy(group, _NEW)]


@pytest.mark.parametrize("chunk", [1024, 96], ids=["whole", "chunked"])
@pytest.mark.parametrize("together", [1, 8], ids=["alone", "in batches of 8"])
def test_greedy_tokens_equal_transformers(smollm2, prompts, expected, chunk, together) -> None:
    config = EngineConfig(
        max_model_len=1024, max_num_seqs=together, max_prefill_tokens=chunk, num_blocks=1024
    )
    runner = plugin.sagellm_open_runner(
        smollm2,
        RunnerConfig(max_slots=together, max_model_len=1024, num_blocks=1024),
    )
    sampling = SamplingParams(temperature=0, max_tokens=_NEW, ignore_eos=True)
    with LLMEngine(smollm2, runner, config, own_model=False) as engine:
        answers = EngineClient(engine).generate(prompts, sampling)
    assert [list(answer.token_ids) for answer in answers] == expected
