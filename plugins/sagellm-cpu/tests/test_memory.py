"""Memory of the machine and of the control group, from made trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagellm_cpu.memory import HostMemory, read_memory

GIB = 2**30
MEMINFO = "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n"


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_machine(tmp_path) -> None:
    root = _tree(tmp_path, {"proc/meminfo": MEMINFO})
    assert read_memory(root) == HostMemory(16 * GIB, 8 * GIB)


def test_old_kernels_have_no_estimate(tmp_path) -> None:
    root = _tree(tmp_path, {"proc/meminfo": "MemTotal: 2048 kB\nMemFree: 1024 kB\n"})
    assert read_memory(root) == HostMemory(2048 * 1024, 1024 * 1024)


def test_the_control_group_version_2(tmp_path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
        "sys/fs/cgroup/memory.current": f"{3 * GIB}\n",
        "sys/fs/cgroup/memory.stat": f"anon {GIB}\nfile {2 * GIB}\ninactive_file {GIB}\n",
    }
    # A gigabyte of page cache would be given back.
    assert read_memory(_tree(tmp_path, files)) == HostMemory(4 * GIB, 2 * GIB, limited=True)


def test_no_limit_in_version_2(tmp_path) -> None:
    root = _tree(tmp_path, {"proc/meminfo": MEMINFO, "sys/fs/cgroup/memory.max": "max\n"})
    assert read_memory(root) == HostMemory(16 * GIB, 8 * GIB)


def test_the_control_group_version_1(tmp_path) -> None:
    folder = "sys/fs/cgroup/memory"
    files = {
        "proc/meminfo": MEMINFO,
        f"{folder}/memory.limit_in_bytes": f"{2 * GIB}",
        f"{folder}/memory.usage_in_bytes": f"{GIB}",
    }
    assert read_memory(_tree(tmp_path, files)) == HostMemory(2 * GIB, GIB, limited=True)


def test_no_limit_in_version_1(tmp_path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    }
    assert read_memory(_tree(tmp_path, files)) == HostMemory(16 * GIB, 8 * GIB)


def test_the_tightest_of_nested_groups_counts(tmp_path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/user.slice/job.scope\n",
        "sys/fs/cgroup/user.slice/memory.max": f"{2 * GIB}",
        "sys/fs/cgroup/user.slice/memory.current": f"{GIB}",
        "sys/fs/cgroup/user.slice/job.scope/memory.max": f"{3 * GIB}",
        "sys/fs/cgroup/other.slice/memory.max": "4096",
    }
    assert read_memory(_tree(tmp_path, files)) == HostMemory(2 * GIB, GIB, limited=True)


@pytest.mark.parametrize("path", ["/docker/0123", "/../../elsewhere", "/"])
def test_a_container_sees_its_group_as_the_root(tmp_path, path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": f"12:pids:/x\n5:memory,other:{path}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}",
    }
    found = read_memory(_tree(tmp_path, files))
    assert found is not None
    assert found.total == GIB


def test_a_group_that_is_over_its_limit_has_nothing(tmp_path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "sys/fs/cgroup/memory.max": f"{GIB}",
        "sys/fs/cgroup/memory.current": f"{2 * GIB}",
    }
    found = read_memory(_tree(tmp_path, files))
    assert found is not None
    assert found.available == 0


def test_neither(tmp_path) -> None:
    assert read_memory(tmp_path) is None


@pytest.mark.parametrize("name", ["proc/meminfo", "sys/fs/cgroup/memory.max", "proc/self/cgroup"])
@given(text=st.text(max_size=200))
def test_whatever_stands_in_the_files(name, text, tmp_path_factory) -> None:
    root = tmp_path_factory.mktemp("root")
    path = root / name
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("utf-8"))
    found = read_memory(root)
    assert found is None or found.available >= 0
