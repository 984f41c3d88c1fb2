"""docs/vendors/triton.md: its adapter is one, and its table fits what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sagellm_torch.triton import shared_bytes

_PAGE = Path(__file__).parents[4] / "docs/vendors/triton.md"


@pytest.fixture(scope="module")
def example() -> dict:
    if not _PAGE.exists():
        pytest.skip("the documentation is not beside the tests")
    code = re.findall(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    names: dict = {}
    exec(code, names)
    return names


def test_the_adapter(example) -> None:
    adapter = example["OrbitAdapter"]("cpu", {"triton": "off"})
    assert adapter.tiles is example["TILES"]


@pytest.mark.parametrize("head_dim", [64, 128])
def test_the_table(example, head_dim) -> None:
    tiles = example["TILES"]
    tile = tiles.prefill_tile(head_dim, 2)
    assert shared_bytes(tile, tile.block_m, head_dim, 2) <= 64 * 1024
    assert tiles.decode_tile(head_dim, 2, 8) == example["TILES"].decode[0]
