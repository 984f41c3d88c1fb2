"""Memory for weights: the right size, and marked for huge pages where the system knows them."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest
import torch
from sagellm_cpu.native.huge_pages import HUGE_PAGE, empty_bytes


@pytest.mark.parametrize("size", [0, 1, 64, HUGE_PAGE - 1, HUGE_PAGE, 3 * HUGE_PAGE + 4])
def test_bytes_that_can_be_written(size: int) -> None:
    memory = empty_bytes(size)
    assert memory.dtype is torch.uint8
    assert memory.shape == (size,)
    assert size == 0 or memory.data_ptr() % 64 == 0
    memory.fill_(7)
    assert torch.equal(memory, torch.full((size,), 7, dtype=torch.uint8))


def test_a_view_keeps_the_memory() -> None:
    numbers = empty_bytes(2 * HUGE_PAGE).view(torch.float32)[5:]
    numbers.fill_(1.5)
    assert float(numbers.sum()) == 1.5 * numbers.numel()


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE"),
    reason="only Linux tells what memory was marked as",
)
def test_large_memory_is_marked() -> None:
    if not Path("/sys/kernel/mm/transparent_hugepage").is_dir():
        pytest.skip("this kernel has no transparent huge pages")
    memory = empty_bytes(8 * HUGE_PAGE)
    assert "hg" in _flags(memory.data_ptr())
    assert "hg" not in _flags(torch.empty(8 * HUGE_PAGE, dtype=torch.uint8).data_ptr())


def _flags(address: int) -> list[str]:
    """What the kernel says of the mapping around an address: proc(5), VmFlags."""
    inside = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        first = line.split(" ", 1)[0]
        if "-" in first and not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            inside = start <= address < end
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError("no mapping holds that address")
