from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

# A side without a model: its logits depend on its weights and on the token of each row.
_CHILD = """
import sys
sys.path.append({root!r})
from benchmarks.quality.child import Opened, serve

def open_fake(model, *, threads, context, weights):
    import numpy as np

    print("a library that prints")
    if weights == "refused":
        sys.exit("weights of that kind are not offered")

    def score(tokens, first):
        if weights == "breaks":
            raise RuntimeError("out of luck")
        sharpness = 3.0 if weights == "none" else 2.0
        logits = np.zeros((len(tokens) - first, 8), np.float32)
        for row, token in enumerate(tokens[first:]):
            logits[row, (token + 1) % 8] = np.nan if weights == "nan" else sharpness
        return logits

    return Opened(score, "float32, " + weights, lambda text: [ord(c) % 8 for c in text])

sys.exit(serve("1.2", open_fake))
"""


@pytest.fixture
def launch(benchmarks_importable: Path) -> Any:
    from benchmarks.quality.process import ScoringProcess

    command = [sys.executable, "-c", _CHILD.format(root=str(benchmarks_importable))]
    return lambda peer, load: ScoringProcess(
        command, {"model": "m", **load, "weights": peer.weights}
    )


def _measure(launch: Any, weights: list[str], **changed: Any) -> Any:
    from benchmarks.peers.catalogue import Peer
    from benchmarks.quality.measure import measure
    from benchmarks.quality.sides import Side

    given: dict[str, Any] = {
        "model": "m",
        "processor": "p",
        "threads": 1,
        "text": "".join(chr(96 + i) for i in range(24)),
        "window": 8,
        "tokens": None,
    }
    sides = [Side(Peer("sagellm", name, ""), 0) for name in weights]
    return measure(sides, launch, **{**given, **changed})


def test_the_second_half_of_each_window_counts_and_is_compared(
    launch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.quality.table import show

    report = _measure(launch, ["none", "int8"])
    assert (report.tokens, report.counted) == (24, 12)
    # Each token follows from the one before it: its logit is 3 (or 2), those of 7 others 0.
    sharp, flat = (math.log(math.exp(x) + 7) - x for x in (3, 2))
    none, int8 = report.rows
    assert none.perplexity == pytest.approx(math.exp(sharp))
    assert none.loss is None
    assert int8.loss.change == pytest.approx(math.exp(flat - sharp) - 1, rel=1e-5)
    assert int8.loss.error == pytest.approx(0, abs=1e-6)
    assert int8.loss.agreement == 1
    assert (int8.computes, int8.version, int8.reference) == ("float32, int8", "1.2", "sagellm none")
    show(report)
    assert "int8 against 1 %" in capsys.readouterr().out
    assert json.loads(json.dumps(asdict(report), allow_nan=False))["counted"] == 12


def test_what_fails_is_a_row_with_the_reason(
    launch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.quality.table import show

    report = _measure(launch, ["none", "refused", "breaks", "nan", "int8"])
    none, refused, breaks, nan, int8 = report.rows
    assert "not offered" in refused.failure
    assert "out of luck" in breaks.failure
    assert "not finite" in nan.failure
    assert none.perplexity is not None
    assert int8.loss is not None
    show(report)
    assert capsys.readouterr().out.count("not measured") == 3


def test_without_the_first_side_there_is_nothing_to_compare_with(launch: Any) -> None:
    from benchmarks.peers.process import PeerError

    with pytest.raises(PeerError, match="not offered"):
        _measure(launch, ["refused", "none"])


def test_a_reference_that_fails_later_leaves_perplexity_without_a_loss(launch: Any) -> None:
    report = _measure(launch, ["breaks", "int8"])
    assert report.rows[0].failure
    assert report.rows[1].perplexity is not None
    assert report.rows[1].loss is None


def test_one_window_has_no_error(launch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.quality.table import show

    report = _measure(launch, ["none", "int8"], tokens=8)
    assert report.rows[1].loss.error is None
    show(report)
    assert "8 tokens in windows of 8" in capsys.readouterr().out


def test_the_text_is_the_one_whose_hash_is_known(tmp_path: Path) -> None:
    from benchmarks.quality.text import TEXT, read_text

    assert len(read_text()) > 100_000
    other = tmp_path / "other.txt"
    other.write_bytes(TEXT.read_bytes() + b"\n")
    with pytest.raises(ValueError, match="SHA-256"):
        read_text(other)


def test_a_rest_that_fills_no_window_is_not_used() -> None:
    from benchmarks.quality.text import windows

    assert windows(list(range(7)), 3) == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="do not fill"):
        windows([1, 2], 3)


@given(seed=st.integers(0, 2**16), rows=st.integers(1, 150), vocab=st.integers(2, 9))
def test_scores_are_those_of_the_definition(seed: int, rows: int, vocab: int) -> None:
    from benchmarks.quality.scores import score_window

    generator = torch.Generator().manual_seed(seed)
    mine = torch.randn(rows, vocab, generator=generator) * 4
    theirs = torch.randn(rows, vocab, generator=generator) * 4
    targets = torch.randint(vocab, (rows,), generator=generator)
    found = score_window(mine, targets.tolist(), theirs)
    p, q = (torch.softmax(x.double(), -1) for x in (theirs, mine))
    assert found.nll == pytest.approx(
        -float(q[range(rows), targets].log().sum()), rel=1e-4, abs=1e-4
    )
    assert found.divergence == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-4, abs=1e-4)
    assert found.agreed == int((mine.argmax(-1) == theirs.argmax(-1)).sum())
    assert score_window(mine, targets.tolist(), mine).divergence == 0


def test_other_vocabularies_are_not_compared() -> None:
    from benchmarks.quality.scores import score_window

    with pytest.raises(ValueError, match=r"\[2, 3\].*\[2, 4\]"):
        score_window(torch.zeros(2, 3), [0, 1], torch.zeros(2, 4))


def test_the_error_is_of_the_paired_difference() -> None:
    from benchmarks.quality.scores import WindowScore, loss, perplexity

    # Windows differ a lot, but by nearly as much for both.
    reference = [WindowScore(10, nll, 0.0, 10) for nll in (10.0, 30.0, 20.0)]
    mine = [WindowScore(10, nll, 0.5, 9) for nll in (10.1, 30.2, 20.3)]
    found = loss(mine, reference)
    assert perplexity(reference) == pytest.approx(math.exp(2.0))
    assert found.change == pytest.approx(math.expm1(0.02))
    assert found.error == pytest.approx(math.exp(0.02) * 0.01 / math.sqrt(3))
    assert (found.divergence, found.agreement) == (pytest.approx(0.05), pytest.approx(0.9))


def test_sagellm_gives_the_logits_of_every_row_that_is_wanted(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from benchmarks.quality.sagellm_side import open_side

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    theirs = transformers.LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path)
    opened = open_side(str(tmp_path), threads=1, context=40, quantization="none")
    assert opened.computes == "float32, none"
    # One after the other: a text does not see the one before it.
    for count, first in ((37, 18), (40, 0), (5, 4)):
        tokens = torch.randint(97, (count,)).tolist()
        with torch.inference_mode():
            expected = theirs(torch.tensor([tokens])).logits[0, first:]
        found = torch.from_numpy(opened.score(tokens, first))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_each_engine_is_compared_with_itself() -> None:
    from benchmarks.quality.sides import sides

    found = sides(["default", "none", "int4"], ["llama.cpp"])
    names = [(side.peer.name, side.peer.weights, side.reference) for side in found]
    assert names == [
        ("sagellm", "none", 0),
        ("sagellm", "default", 0),
        ("sagellm", "int4", 0),
        ("llama.cpp", "F16", 3),
        ("llama.cpp", "Q8_0", 3),
        ("llama.cpp", "Q4_0", 3),
    ]


def test_int4_is_held_to_what_llama_cpp_loses() -> None:
    from benchmarks.quality.report import QualityRow, bars
    from benchmarks.quality.scores import Loss

    def row(name: str, weights: str, change: float) -> QualityRow:
        return QualityRow(name, weights, "", loss=Loss(change, None, 0.0, 1.0))

    rows = [row("sagellm", "int8", 0.02), row("sagellm", "int4", 0.05)]
    assert [bar.reached for bar in bars(rows)] == [False]
    rows.append(row("llama.cpp", "Q4_0", 0.06))
    assert [bar.reached for bar in bars(rows)] == [False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--peers", "nobody"], "no peer nobody"),
        (["--window", "1"], "--window is at least 2"),
        (["--tokens", "100"], "--tokens is at least"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.__main__ import main

    monkeypatch.setattr(sys, "argv", ["benchmarks", "quality", *options])
    with pytest.raises(SystemExit, match=message):
        main()
