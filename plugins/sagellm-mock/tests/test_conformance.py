"""The contract's suite."""

from __future__ import annotations

from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *  # noqa: F403

DECLARATION = Declaration(
    plugin="mock", capabilities={"generate", "embed", "logprobs", "any_model"}
)
