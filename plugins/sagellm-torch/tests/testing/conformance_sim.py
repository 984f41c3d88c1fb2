"""What the conformance suite is to prove of the provider ``sim``; run by test_conformance."""

from sagellm_core.testing import Declaration
from sagellm_core.testing.suite import *  # noqa: F403

DECLARATION = Declaration(
    plugin="sim",
    capabilities={"generate", "logprobs", "embed"},
    model_types=("llama", "bert"),
    visibility=("SIM_VISIBLE_DEVICES",),
    # It is there whatever files there are.
    trees={"no files": lambda root: None},
)
