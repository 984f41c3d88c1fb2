"""The processor, from made trees."""

from __future__ import annotations

import os

import pytest
from sagellm_cpu.processor import read_flags, read_name, usable_threads

X86 = (
    "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu avx2 sse avx512f\n\n"
    "processor\t: 1\nmodel name\t: Another\n"
)
ARM = "processor\t: 0\nFeatures\t: fp asimd i8mm\nCPU part\t: 0xd40\n"


def _cpuinfo(root, text):
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(text)
    return root


def test_name_and_instructions(tmp_path) -> None:
    root = _cpuinfo(tmp_path, X86)
    assert read_name(root) == "Some CPU @ 2.00GHz"
    assert read_flags(root) == ("avx2", "avx512f")


def test_arm(tmp_path) -> None:
    assert read_flags(_cpuinfo(tmp_path, ARM)) == ("asimd", "i8mm")


def test_without_proc(tmp_path) -> None:
    assert read_name(tmp_path)
    assert read_flags(tmp_path) == ()


@pytest.fixture
def allowed() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("max 100000", None),
        ("garbage", None),
        ("0 0", None),
    ],
)
def test_the_quota_of_version_2(tmp_path, allowed, text, limit) -> None:
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text(text)
    assert usable_threads(tmp_path) == (limit or allowed)


@pytest.mark.parametrize(("quota", "limit"), [("-1", None), ("30000", 1)])
def test_the_quota_of_version_1(tmp_path, allowed, quota, limit) -> None:
    folder = tmp_path / "sys/fs/cgroup/cpu"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert usable_threads(tmp_path) == (limit or allowed)


def test_the_quota_of_the_own_group(tmp_path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job\n")
    (tmp_path / "sys/fs/cgroup/job").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/job/cpu.max").write_text("10000 100000")
    assert usable_threads(tmp_path) == 1


def test_no_quota(tmp_path, allowed) -> None:
    assert usable_threads(tmp_path) == allowed
