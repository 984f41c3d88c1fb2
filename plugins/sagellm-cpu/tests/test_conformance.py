"""The contract's suite over what computes by default, from the first step on."""

from __future__ import annotations

from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *  # noqa: F403

DECLARATION = Declaration(
    plugin="cpu",
    capabilities={"generate", "embed", "logprobs"},
    provider_options={"native": "wait", "threads": 1},
)
