"""The benchmark of accelerators, on the CPU with models so small that they cost nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

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


def test_one_json_of_all_that_was_run(tmp_path) -> None:
    target = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--backend", "cpu", "--tiny"]
    run = subprocess.run(
        [*command, "--skip", "conformance", "correctness", "crowd", "--json", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(target.read_text(encoding="utf-8"))
    assert report["crowd"] == {"skipped": "not asked for"}
    assert report["copy_gb_per_second"] > 0
    for name, sequences in (("alone", 1), ("few", 4)):
        assert report[name]["requests"] == sequences
        assert report[name]["tokens_per_second"] > 0
        # A tiny run is held to no target.
        assert report[name]["met"] is None
