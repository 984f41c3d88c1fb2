"""The contract's suite over what computes by default, from the first step on."""

from __future__ import annotations

import contextlib

import pytest

from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *  # noqa: F403

DECLARATION = Declaration(
    plugin="cpu",
    capabilities={"generate", "embed", "logprobs"},
    provider_options={"native": "wait", "threads": 1},
)


@pytest.fixture(scope="module", autouse=True)
def _kernels(request: pytest.FixtureRequest) -> None:
    """Those of the other tests, rather than compiled once more; without a compiler none."""
    with contextlib.suppress(pytest.skip.Exception):
        compiled = request.getfixturevalue("compiled")
        cache = request.getfixturevalue("bench").cache_dir
        (cache / "native").symlink_to(compiled / "native")
