"""docs/models-supported.md says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest
from sagellm_torch.coverage import coverage_table

_PAGE = Path(__file__).parents[3] / "docs" / "models-supported.md"


@pytest.mark.skipif(not _PAGE.exists(), reason="the page is in the repository only")
def test_the_page_is_up_to_date() -> None:
    assert _PAGE.read_text() == coverage_table(), (
        "run: python -m sagellm_torch.coverage > docs/models-supported.md"
    )
