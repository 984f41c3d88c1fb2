"""The contract's suite, over torch's own operators: they are there from the first step on."""

from __future__ import annotations

from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *  # noqa: F403

DECLARATION = Declaration(
    plugin="cpu",
    capabilities={"generate", "embed", "logprobs"},
    provider_options={"native": "off", "threads": 1},
)
