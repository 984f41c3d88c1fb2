"""The verdicts: every declared capability has a test that passed."""

from __future__ import annotations

from sagellm_core.testing.finding import fail, skip
from sagellm_core.testing.groups import VERDICTS
from sagellm_core.testing.marks import group
from sagellm_core.testing.module_state import ModuleState
from sagellm_core.testing.result import Outcome


@group(VERDICTS)
class TestCapabilities:
    """Runs last, and looks at what the other tests came to."""

    def test_has_a_passing_test(self, conformance_state: ModuleState, capability: str) -> None:
        """A claim that no test bears out is a failure."""
        verdict = conformance_state.verdict(capability)
        if verdict.outcome is Outcome.FAILED:
            fail(verdict.reason)
        if verdict.outcome is Outcome.SKIPPED:
            skip(verdict.reason)
