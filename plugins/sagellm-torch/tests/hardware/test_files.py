"""Files that a kernel would make up."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagellm_torch.hardware import in_container, may_open, read_fields, read_number, read_text
from sagellm_torch.hardware.files import number


@pytest.mark.parametrize(
    ("text", "value"), [("0x10DE\n", 0x10DE), ("42\n", 42), ("-1", -1), ("", None), ("4 kB", None)]
)
def test_numbers(tmp_path, text, value) -> None:
    (tmp_path / "file").write_text(text)
    assert read_number(tmp_path / "file") == value


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_none(text) -> None:
    assert number(text) is None or isinstance(number(text), int)


def test_the_first_of_equal_keys_counts(tmp_path) -> None:
    (tmp_path / "file").write_text("Model: \t A b\nnonsense\nModel: C\nBus: 0000:01:00.0\n")
    assert read_fields(tmp_path / "file", ":") == {"Model": "A b", "Bus": "0000:01:00.0"}
    (tmp_path / "file").write_text("vendor_id 7572\n\nsimd_count 256\n")
    assert read_fields(tmp_path / "file") == {"vendor_id": "7572", "simd_count": "256"}


def test_what_cannot_be_read_is_missing(tmp_path) -> None:
    assert read_text(tmp_path) is None
    assert read_text(tmp_path / "none") is None
    assert read_text(Path("nul\0byte")) is None
    assert read_fields(tmp_path / "none") == {}


def test_bytes_that_are_no_text(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"\xff name\0")
    assert read_text(tmp_path / "file") == "\ufffd name"


def test_long_files_are_cut(tmp_path) -> None:
    (tmp_path / "file").write_text("x" * 10**6)
    assert len(read_text(tmp_path / "file") or "") == 64 * 1024


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv", ".singularity.d"])
def test_a_container_by_what_its_engine_leaves(tmp_path, mark) -> None:
    assert not in_container({}, tmp_path)
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).touch()
    assert in_container({}, tmp_path)


def test_a_container_by_its_environment(tmp_path) -> None:
    assert in_container({"container": "podman"}, tmp_path)
    assert in_container({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)
    assert not in_container({"container": ""}, tmp_path)


def test_nodes_that_another_user_may_not_open() -> None:
    """As another user where we are root, who may open everything."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        for node, mode in (("open", 0o666), ("read", 0o444), ("closed", 0o600)):
            (Path(name) / node).touch()
            (Path(name) / node).chmod(mode)
        if os.geteuid() != 0:
            (Path(name) / "closed").chmod(0)
        # The child finds its modules before it becomes nobody.
        code = f"""
import os
from pathlib import Path
from sagellm_torch.hardware import may_open
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(*[may_open(Path({name!r}) / node) for node in ("open", "read", "closed")])
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.split() == ["True", "False", "False"]


def test_a_node_of_our_own(tmp_path) -> None:
    (tmp_path / "node").touch()
    assert may_open(tmp_path / "node")
    assert not may_open(tmp_path / "none")
