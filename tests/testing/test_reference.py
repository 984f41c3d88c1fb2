"""The reference computes what transformers computes, and the tiny models suit their purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sagellm_core.contract import ModelFormat
from sagellm_core.testing.reference.layers import log_softmax
from sagellm_core.testing.reference.tolerance import tolerance_of
from sagellm_core.testing.tiny.family import DECODERS, FAMILIES
from sagellm_core.testing.tiny.model import TinyModel
from sagellm_core.testing.tiny.tokenizer import SPECIAL, byte_characters

ALL = tuple(FAMILIES)
LENGTHS = (1, 5, 9, 13, 16, 17, 41)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, TinyModel] = {}

    def get(name: str) -> TinyModel:
        if name not in made:
            made[name] = TinyModel(name, tmp_path_factory.mktemp("tiny") / name)
        return made[name]

    return get


@pytest.fixture(scope="module")
def peer(tiny: Any) -> Any:
    """The same model in transformers."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    def get(name: str, dtype: str = "float64") -> Any:
        kind = transformers.AutoModel if name == "bert" else transformers.AutoModelForCausalLM
        model = kind.from_pretrained(tiny(name).place, dtype=getattr(torch, dtype)).eval()

        def run(tokens: Any) -> Any:
            with torch.inference_mode():
                out = model(torch.tensor([list(tokens)]))
            found = out.last_hidden_state if name == "bert" else out.logits
            return found[0].double().numpy()

        return run

    return get


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_equal_transformers(tiny: Any, peer: Any, name: str) -> None:
    run = peer(name)
    for length in LENGTHS:
        tokens = tiny(name).prompt(length, seed=length)
        # Its rotary tables are float32.
        assert np.abs(tiny(name).logits(tokens) - run(tokens)).max() < 2e-4


def test_the_encoder_equals_transformers(tiny: Any, peer: Any) -> None:
    run = peer("bert")
    for length in LENGTHS:
        tokens = tiny("bert").prompt(length, seed=length)
        for pooling, wanted in (
            ("mean", run(tokens).mean(axis=0)),
            ("cls", run(tokens)[0]),
            ("last", run(tokens)[-1]),
            ("max", run(tokens).max(axis=0)),
        ):
            assert np.abs(tiny("bert").vector(tokens, pooling) - wanted).max() < 1e-9


@pytest.mark.parametrize("name", ALL)
def test_its_files_are_read_as_they_are_meant(tiny: Any, name: str) -> None:
    description = tiny(name).description
    assert description.format is ModelFormat.SAFETENSORS
    assert description.model_type == name
    assert description.weight_dtype == "float32"
    assert description.vocab_size == 272
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny(name).place)
    text = "Grüße, 漢字 \N{SLIGHTLY SMILING FACE}\n\t ~"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    around = tokenizer.encode("a")
    assert around == ([1, 100, 2] if name == "bert" else [1, 100])
    assert tokenizer.encode("a<|end|>b", add_special_tokens=False) == [100, 2, 101]


def test_the_vocabulary_has_every_byte_once() -> None:
    characters = byte_characters()
    assert len(set(characters)) == 256
    assert characters[ord("A")] == "A"
    assert characters[ord(" ")] == "\u0120"
    assert len(SPECIAL) == 272 - 256


@pytest.mark.parametrize("name", DECODERS)
def test_no_greedy_choice_hangs_on_rounding(tiny: Any, name: str) -> None:
    """And answers go on changing, so that a wrong position shows."""
    distinct = 0
    for length in LENGTHS:
        prompt = tiny(name).prompt(length, seed=length)
        output: tuple[int, ...] = ()
        for _ in range(24):
            logits = np.sort(tiny(name).logits(prompt + output)[-1])
            gap = (logits[-1] - logits[-2]) / logits.std()
            assert gap > 2 * tolerance_of("float32", "none").regret
            output += (int(np.argmax(tiny(name).logits(prompt + output)[-1])),)
        distinct += len(set(output))
    assert distinct / len(LENGTHS) > 10


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_plain_modelling_code_is_well_within_the_tolerance(
    tiny: Any, peer: Any, name: str, dtype: str
) -> None:
    """In every dtype: a right provider passes with room to spare."""
    run, limit = peer(name, dtype), tolerance_of(dtype, "none")
    for length in LENGTHS:
        tokens = tiny(name).prompt(length, seed=length)
        if name == "bert":
            one, other = run(tokens).mean(axis=0), tiny(name).vector(tokens, "mean")
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            assert 1 - cosine < (1 - limit.cosine) / 2
            continue
        found, wanted = run(tokens), tiny(name).logits(tokens)
        chosen = found.argmax(axis=-1)
        regret = wanted.max(axis=-1) - wanted[np.arange(length), chosen]
        assert (regret / wanted.std(axis=-1)).max() <= limit.regret / 2
        best = np.argsort(found, axis=-1)[:, -5:]
        off = np.abs(log_softmax(found) - log_softmax(wanted))
        assert np.take_along_axis(off, best, axis=1).max() < limit.logprob / 2


@pytest.mark.parametrize("name", ALL)
def test_weights_are_exact_in_sixteen_bits(tiny: Any, name: str) -> None:
    raw = (tiny(name).place / "model.safetensors").read_bytes()
    begin = 8 + int.from_bytes(raw[:8], "little")
    bits = np.frombuffer(raw[begin:], dtype="<u4")
    assert not (bits & 0xFFFF).any()


def test_it_is_the_same_everywhere(tiny: Any) -> None:
    """Results of two machines are about the same models."""
    import hashlib

    place: Path = tiny("llama").place
    digest = hashlib.sha256((place / "model.safetensors").read_bytes()).hexdigest()
    assert digest[:16] == "5b60b96dc8ee1145"
