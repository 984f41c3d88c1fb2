"""Which CANN a torch_npu was made for."""

from __future__ import annotations

from collections.abc import Mapping

#: By version of torch_npu. From the table of versions in Ascend/pytorch (COMPATIBILITY.md and
#: README.md), from 2.7.1 on, the oldest one with the operators that are used here.
CANN: Mapping[str, str] = {
    "2.7.1": "8.3.RC1",
    "2.8.0": "8.3.RC1",
    "2.7.1.post2": "8.5.0",
    "2.8.0.post2": "8.5.0",
    "2.9.0": "8.5.0",
    "2.7.1.post4": "9.0.0",
    "2.8.0.post4": "9.0.0",
    "2.9.0.post2": "9.0.0",
    "2.10.0": "9.0.0",
    "2.7.1.post8": "9.1.0",
    "2.9.0.post6": "9.1.0",
    "2.10.0.post4": "9.1.0",
    "2.11.0": "9.1.0",
    "2.12.0": "9.1.0",
}


def made_for(torch_npu: str) -> str | None:
    """The CANN version that a torch_npu was released for; ``None`` where the table has none."""
    return CANN.get(torch_npu)
