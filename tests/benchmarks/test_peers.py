from __future__ import annotations

import json
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest


def _report(rows: list[Any], **other: Any) -> Any:
    from benchmarks.peers.parameters import Parameters
    from benchmarks.peers.report import PeersReport

    return PeersReport(
        **{
            "model": "a model & its weights",
            "processor": "p",
            "threads": 1,
            "load_before": 0.0,
            "load_after": 0.0,
            "parameters": Parameters(layers=1_000_000_000, decode=2_000_000_000),
            "limits": None,
            "prompt_tokens": 10,
            "new_tokens": 5,
            "batches": [2],
            "rows": rows,
        }
        | other
    )


def _row(name: str, **other: Any) -> Any:
    from benchmarks.peers.report import PeerResult

    return PeerResult(
        name, "w", prefill_s={2: [1.0, 2.0, 9.0]}, whole_s={2: [3.0, 4.0, 19.0]}, **other
    )


def test_peers_run_in_turn_and_one_that_fails_is_a_row(
    launch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.peers.catalogue import Peer
    from benchmarks.peers.limits import Limits
    from benchmarks.peers.measure import measure
    from benchmarks.peers.table import show

    peers = [Peer("sagellm", "fp32", "", form="fine"), Peer("other", "Q8_0", "", form="broken")]
    report = measure(
        peers,
        launch,
        model="m",
        processor="p",
        vocab_size=100,
        parameters=None,
        limits=Limits(1.0, 2.0, 3.0, 4.0),
        threads=1,
        batches=[1, 2],
        prompt_tokens=4,
        new_tokens=3,
        rounds=1,
        starts=1,
    )
    fine, broken = report.rows
    assert not fine.failure
    assert (len(fine.start_s), len(fine.whole_s[1]), len(fine.prefill_s[2])) == (1, 1, 1)
    assert (fine.version, fine.computes, fine.peak_rss_bytes > 0) == ("1.2", "float32, none", True)
    assert "no such model" in broken.failure
    fine.prefill_s, fine.whole_s = {1: [1.0], 2: [1.0]}, {1: [2.0], 2: [2.0]}
    show(report)
    assert "not measured: no such model" in capsys.readouterr().out


def test_too_few_tokens_are_an_error(launch: Any) -> None:
    from benchmarks.peers.catalogue import Peer
    from benchmarks.peers.process import PeerError

    with launch(Peer("x", "", "", form="fine"), {}) as process:
        assert process.generate([[1, 2]], 2)[1] == [[2, 2]]
        with pytest.raises(PeerError, match="asked for"):
            process.generate([[1]], -1)


def test_a_peers_threads_are_its_own_affair(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from benchmarks.peers.process import PeerProcess

    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    tell = "import json, os; print(json.dumps({'version': '1', 'computes': ' '.join(os.environ)}))"
    with PeerProcess([sys.executable, "-c", f"input(); {tell}"], {}) as process:
        assert "OMP_WAIT_POLICY" not in process.computes
        assert "PATH" in process.computes


def test_a_peer_that_hangs_is_ended() -> None:
    from benchmarks.peers.process import PeerError, PeerProcess

    with pytest.raises(PeerError, match=r"no answer to 'load' in 0\.2 s"):
        PeerProcess([sys.executable, "-c", "import time; time.sleep(60)"], {}, limit_s=0.2)


def test_a_peer_is_stopped_between_its_answers(tmp_path: Path) -> None:
    """It would take time from the one that is measured; so would what it started."""
    from benchmarks.peers.process import PeerProcess

    count = "import sys, time\nwith open(sys.argv[1], 'ab', 0) as file:\n"
    count += " while True: file.write(b'.') and time.sleep(0.001)"
    peer = "import json, subprocess, sys\nstarted = False\nfor line in sys.stdin:\n"
    peer += " started = started or subprocess.Popen([sys.executable, '-c', *sys.argv[1:]])\n"
    peer += " json.loads(line)['op'] != 'load' and __import__('time').sleep(0.5)\n"
    peer += " print(json.dumps({'version': '1', 'computes': '', 'bytes': 1}), flush=True)"
    counted = tmp_path / "counted"

    def size() -> int:
        return counted.stat().st_size

    with PeerProcess([sys.executable, "-c", peer, count, str(counted)], {}) as process:
        process.peak_rss_bytes()
        between = size()
        time.sleep(0.2)
        assert size() == between
        process.peak_rss_bytes()
        assert size() > between
    at_the_end = size()
    time.sleep(0.2)
    assert size() == at_the_end


def test_speeds_are_those_of_median_rounds() -> None:
    row = _row("a", bits=8)
    report = _report([row])
    assert report.prefill(row, 2) == 10
    assert report.decode(row, 2) == 4
    # Two steps a second, each reads two billion weights of a byte.
    assert report.read_gb(row) == 4
    assert report.prefill_gflop(row) == 20


def test_answers_are_compared_with_those_of_transformers() -> None:
    row, reference = _row("a", first_tokens=[1, 2, 3, 4]), _row("transformers")
    assert _report([row]).agreement(row) is None
    reference.first_tokens = [1, 2, 3, 5]
    report = _report([row, reference])
    assert (report.agreement(row), report.agreement(reference)) == (0.75, 1.0)


@pytest.mark.parametrize(
    ("computes", "bits"),
    [
        ("float32, none", 32),
        ("bfloat16, none", 16),
        ("float32, int8", 8),
        ("float32, Q8_0", 8.5),
        ("float32, unheard-of", None),
    ],
)
def test_bits_of_a_weight_are_as_the_peer_says(computes: str, bits: float | None) -> None:
    assert _row("a", computes=computes).weight_bits() == bits


def test_what_is_not_known_is_left_blank(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.peers.table import show

    row = _row("a")
    report = _report([row], parameters=None)
    assert report.read_gb(row) is None
    assert report.prefill_gflop(row) is None
    show(report)
    assert "-" in capsys.readouterr().out


def test_the_report_is_json_and_the_chart_is_xml() -> None:
    from benchmarks.peers.chart import chart

    report = _report([_row("sagellm"), _row("other"), _row("failed", failure="no <wheel>")])
    assert json.loads(json.dumps(asdict(report)))["rows"][0]["name"] == "sagellm"
    root = ElementTree.fromstring(chart(report))
    bars = [e for e in root.iter() if e.tag.endswith("rect") and e.get("height") != "100%"]
    # Two panels of two rows; all are equally fast, so all bars are equally long.
    assert len(bars) == 4
    assert len({bar.get("width") for bar in bars}) == 1
    assert "a model & its weights" in "".join(root.itertext())


def test_what_is_no_gguf_is_not_rewritten(tmp_path: Path) -> None:
    from benchmarks.peers.process import PeerError
    from benchmarks.peers.weights import converted

    assert converted(tmp_path, tmp_path, "safetensors") == tmp_path
    with pytest.raises(PeerError, match="no GGUF"):
        converted(tmp_path, tmp_path, "Q8_0")


def test_an_environment_is_made_anew_when_what_it_needs_changes() -> None:
    from benchmarks.peers.environment import Environment

    marks = {
        Environment("a", ("b==1",)).mark,
        Environment("a", ("b==2",)).mark,
        Environment("a", ("b==1",), needs_of="c==1").mark,
        Environment("a", ("b==1",), needs_of="c==1", except_for=("torch",)).mark,
    }
    assert len(marks) == 4


def test_an_environment_that_is_marked_is_taken_as_it_is(tmp_path: Path) -> None:
    from benchmarks.peers.environment import Environment, environment_python

    wanted = Environment("a", ("b==1",))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "installed.txt").write_text(wanted.mark)
    assert environment_python(tmp_path, wanted) == tmp_path / "a" / "bin" / "python"


def test_every_peer_reads_a_form_that_can_be_made() -> None:
    from benchmarks.peers.catalogue import PEERS, ours
    from benchmarks.peers.weights import FORMS

    assert {peer.form for peer in PEERS} <= set(FORMS)
    assert all(form.source is None or form.source in FORMS for form in FORMS.values())
    assert ours("int8").settings == {"quantization": "int8"}
    assert not ours("default").settings


def test_weights_are_counted_from_the_headers(tmp_path: Path) -> None:
    from benchmarks.peers.parameters import Parameters, parameters
    from sagellm_core.contract import ModelDescription, ModelFormat

    def described(**config: Any) -> ModelDescription:
        return ModelDescription(
            reference="m",
            format=ModelFormat.SAFETENSORS,
            config=config,
            vocab_size=10,
            parameter_count=1000,
        )

    assert parameters(described(hidden_size=5, tie_word_embeddings=True)) == Parameters(950, 1000)
    assert parameters(described(hidden_size=5)) == Parameters(900, 950)
    assert parameters(described()) is None
