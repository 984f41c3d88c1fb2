"""The benchmark of accelerators, on the CPU with models so small that they cost nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "parameters", "read"),
    # As the models' cards say: 0.6 billion, of which 0.44 are not embeddings; 8.2 and 6.95.
    [("QWEN3_0_6B", 0.596e9, 0.596e9), ("QWEN3_8B", 8.19e9, 7.57e9)],
)
def test_shapes_are_those_of_the_models(name, parameters, read) -> None:
    from benchmarks.gpu import shapes

    shape = getattr(shapes, name)
    assert shape.decoder.parameter_count == pytest.approx(parameters, rel=2e-3)
    # An embedding of its own is looked up in, not read.
    assert shape.step_weight_bytes(2) == pytest.approx(2 * read, rel=2e-3)


def test_keys_and_values_of_a_token() -> None:
    from benchmarks.gpu.shapes import QWEN3_0_6B, tiny

    # 28 layers of 8 heads of 128, twice, in two bytes each.
    assert QWEN3_0_6B.token_bytes(2) == 28 * 8 * 128 * 2 * 2
    assert tiny(QWEN3_0_6B).decoder.num_layers == 2


def test_a_checkout_is_found_without_being_installed(tmp_path) -> None:
    from benchmarks.gpu.checkout import environment

    paths = environment(tmp_path)["PYTHONPATH"].split(":")
    assert str(ROOT) in paths
    found = {dist.metadata["Name"]: dist for dist in distributions(path=[str(tmp_path)])}
    cuda = found["sagellm-cuda"]
    (entry,) = cuda.entry_points.select(group="sagellm.plugins.v1")
    assert (entry.name, entry.value) == ("cuda", "sagellm_cuda.plugin")
    assert any(needed.startswith("sagellm-core>=") for needed in cuda.requires or ())
    assert found["sagellm-core"].version


def tiny_run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--backend", "cpu", "--tiny", *flags]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False
    )


def test_one_json_of_all_that_was_run(tmp_path) -> None:
    target = tmp_path / "gpu.json"
    run = tiny_run("--skip", "conformance", "correctness", "crowd", "--json", str(target))
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "sound: all that was asked for"
    report = json.loads(target.read_text(encoding="utf-8"))
    assert report["crowd"] == {"skipped": "not asked for"}
    assert report["copy_gb_per_second"] > 0
    for name, sequences in (("alone", 1), ("few", 4)):
        assert report[name]["requests"] == sequences
        assert report[name]["tokens_per_second"] > 0
        # A tiny run is held to no target.
        assert report[name]["met"] is None


def test_without_time_nothing_is_proved(tmp_path) -> None:
    target = tmp_path / "gpu.json"
    run = tiny_run("--limit", "0", "--skip", "few", "--json", str(target))
    assert run.returncode == 1, run.stderr
    assert run.stdout.splitlines()[-1] == (
        "not sound: correctness: no time was left; conformance: no time was left; "
        "alone: no time was left; crowd: no time was left"
    )
    # What proves something is the last to be cut off.
    parts = [name for name in json.loads(target.read_text()) if name not in ("machine", "tiny")]
    assert parts[1:-1] == ["correctness", "conformance", "alone", "few", "crowd"]


def answer(model: str, outcome: str, detail: str = "") -> dict[str, str]:
    return {"model": model, "outcome": outcome, "detail": detail}


GOOD: dict[str, Any] = {
    "machine": {"torch": "2.9"},
    "correctness": [answer("llama", "same"), answer("SmolLM2", "not run", "not installed")],
    "conformance": {"exit_code": 0, "report": {}},
    "alone": {"tokens_per_second": 3.0, "met": False},
    "few": {"skipped": "not asked for"},
}


def test_a_sound_report() -> None:
    from benchmarks.gpu.verdict import doubts

    assert doubts(GOOD) == []


@pytest.mark.parametrize(
    ("name", "part", "doubt"),
    [
        ("correctness", {"skipped": "no time was left"}, "no time was left"),
        (
            "correctness",
            [answer("all", "not run", "transformers is not installed")],
            "all not run (transformers is not installed)",
        ),
        (
            "correctness",
            [answer("llama", "same"), answer("phi3", "skipped", "no time was left")],
            "phi3 skipped (no time was left)",
        ),
        ("correctness", [answer("llama", "different", "1 of 5")], "llama different (1 of 5)"),
        ("conformance", {"skipped": "no time was left"}, "no time was left"),
        ("conformance", {"exit_code": 1, "report": {}}, "exit code 1"),
        ("conformance", {"exit_code": None, "problem": "it took long"}, "it took long"),
        ("alone", {"failed": "OSError: full"}, "OSError: full"),
        ("alone", {"skipped": "no time was left"}, "no time was left"),
    ],
)
def test_what_makes_a_report_unsound(name: str, part: Any, doubt: str) -> None:
    from benchmarks.gpu.verdict import doubts

    assert doubts({**GOOD, name: part}) == [f"{name}: {doubt}"]


def test_no_model_is_begun_without_time(tmp_path, monkeypatch) -> None:
    from benchmarks.gpu import correctness
    from benchmarks.gpu.scenarios import Place

    pytest.importorskip("transformers")
    began: list[str] = []
    monkeypatch.setattr(
        correctness,
        "_guarded",
        lambda name, run: began.append(name) or correctness.Compared(name, "same", ""),
    )
    place = Place("cpu", "cpu", "auto", True, tmp_path)
    found = correctness.compare(place, lambda: 1.0 - len(began))
    assert len(began) == 1
    assert {each.outcome for each in found[1:]} == {"skipped"}


def test_conformance_ends_with_all_it_started(process_mark) -> None:
    from benchmarks.gpu.conforming import conformance

    begin = time.monotonic()
    found = conformance("cpu", 2.0)
    assert time.monotonic() - begin < 10
    assert found == {"exit_code": None, "problem": "it took more than 2 s"}
    assert process_mark.gone()
