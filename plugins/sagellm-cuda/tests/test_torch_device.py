"""The device that was chosen, among those that torch counts."""

from __future__ import annotations

import pytest
from sagellm_cuda.torch_device import match

from sagellm_core.contract import DeviceInfo, DeviceState

_BIG, _SMALL = "b0000000-0000-0000-0000-00000000000b", "a0000000-0000-0000-0000-00000000000a"
_TORCH = [[_BIG, "0000:02:00.0"], [_SMALL, "0000:01:00.0"]]


@pytest.mark.parametrize(
    ("physical", "name"),
    [
        (f"GPU-{_BIG}", "cuda:0"),
        (f"GPU-{_SMALL}", "cuda:1"),
        (f"MIG-{_SMALL.upper()}", "cuda:1"),
        ("0000:02:00.0", "cuda:0"),
        ("GPU-ffffffff-0000-0000-0000-000000000000", "cuda:7"),
        ("", "cuda:7"),
    ],
)
def test_it_is_found_by_what_it_is_and_not_by_its_number(physical, name) -> None:
    device = DeviceInfo(id="cuda:7", state=DeviceState.USABLE, physical_id=physical)
    assert match(device, _TORCH) == name


def test_a_torch_that_tells_nothing() -> None:
    device = DeviceInfo(id="cuda:1", state=DeviceState.USABLE, physical_id=f"GPU-{_BIG}")
    assert match(device, [[""], [""]]) == "cuda:1"
