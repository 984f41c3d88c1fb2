from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

_CHILD = """
import sys
sys.path.append({root!r})
from benchmarks.peers.child import serve

def open_fake(model, **load):
    print("a library that prints")
    if model == "broken":
        sys.exit("no such model")
    return lambda prompts, new_tokens: [[len(prompt)] * new_tokens for prompt in prompts]

sys.exit(serve("1.2", open_fake))
"""


@pytest.fixture
def launch(benchmarks_importable: Path) -> Any:
    from benchmarks.peers.process import PeerProcess

    command = [sys.executable, "-c", _CHILD.format(root=str(benchmarks_importable))]
    return lambda peer, load: PeerProcess(command, {"model": peer.form, **load})


def test_peers_run_in_turn_and_one_that_fails_is_a_row(
    launch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.peers.catalogue import Peer
    from benchmarks.peers.measure import measure
    from benchmarks.peers.report import show

    peers = [Peer("sagellm", "fp32", "", form="fine"), Peer("other", "Q8_0", "", form="broken")]
    report = measure(
        peers,
        launch,
        model="m",
        processor="p",
        vocab_size=100,
        threads=1,
        batches=[1, 2],
        prompt_tokens=4,
        new_tokens=3,
        rounds=2,
    )
    fine, broken = report.rows
    assert not fine.failure
    assert (len(fine.start_s), len(fine.whole_s[1]), len(fine.prefill_s[2])) == (2, 2, 2)
    assert (fine.version, fine.peak_rss_bytes > 0) == ("1.2", True)
    assert "no such model" in broken.failure
    fine.prefill_s, fine.whole_s = {1: [1.0], 2: [1.0]}, {1: [2.0], 2: [2.0]}
    show(report)
    assert "not measured: it ended with exit code 1" in capsys.readouterr().out


def test_too_few_tokens_are_an_error(launch: Any) -> None:
    from benchmarks.peers.catalogue import Peer
    from benchmarks.peers.process import PeerError

    with launch(Peer("x", "", "", form="fine"), {}) as process:
        assert process.generate([[1, 2]], 2)[1] == [[2, 2]]
        with pytest.raises(PeerError, match="asked for"):
            process.generate([[1]], -1)


def test_speeds_are_those_of_median_rounds() -> None:
    from benchmarks.peers.report import PeerResult, PeersReport

    row = PeerResult("a", "b", prefill_s={2: [1.0, 2.0, 9.0]}, whole_s={2: [3.0, 4.0, 19.0]})
    report = PeersReport("m", "p", 1, 0.0, 0.0, 10, 5, [2], [row])
    assert report.prefill(row, 2) == 10
    assert report.decode(row, 2) == 4


def test_what_is_no_gguf_is_not_rewritten(benchmarks_importable: Path, tmp_path: Path) -> None:
    from benchmarks.peers.process import PeerError
    from benchmarks.peers.weights import converted

    assert converted(tmp_path, tmp_path, "safetensors", Path(sys.executable)) == tmp_path
    with pytest.raises(PeerError, match="no GGUF"):
        converted(tmp_path, tmp_path, "Q8_0", Path(sys.executable))
