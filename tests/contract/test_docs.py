"""The contract's page says what the contract is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from sagellm_core.contract import errors, hookspecs
from sagellm_core.contract.version import CONTRACT_VERSION, ENTRY_POINT_GROUP

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
HOOKS = {
    name: value
    for name, value in vars(hookspecs).items()
    if name.startswith("sagellm_") and inspect.isfunction(value)
}
ERRORS = [getattr(errors, name) for name in errors.__all__ if name != "SageLLMError"]


def section(hook: str) -> str:
    found = re.search(rf"^### `{hook}`\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/contract.md has no section for {hook}"
    return found.group(1)


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_each_hook_is_documented_with_its_exact_signature(hook: str) -> None:
    signature = str(inspect.signature(HOOKS[hook])).replace("'", "")
    assert f"def {hook}{signature}\n" in section(hook)


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_each_hook_is_documented_with_its_stage(hook: str) -> None:
    stage = "S1" if hook in hookspecs.PROBE_HOOKS else "S2"
    assert f"Stage {stage}" in section(hook)
    assert f"Stage {stage}" in (HOOKS[hook].__doc__ or "")
    assert ("required" in section(hook)) == (
        hook in hookspecs.REQUIRED_HOOKS or hook == "sagellm_open_runner"
    )


def test_no_hook_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^### `(sagellm_\w+)`", PAGE, re.MULTILINE)) == set(HOOKS)


def test_the_lists_of_hooks_name_hooks() -> None:
    named = {*hookspecs.REQUIRED_HOOKS, *hookspecs.OPENERS, *hookspecs.PROBE_HOOKS}
    assert named == set(HOOKS)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_each_error_is_documented_with_its_code(error: type[errors.SageLLMError]) -> None:
    row = re.search(rf"^\| `{error.__name__}` \| `{error.code}` \|.*$", PAGE, re.MULTILINE)
    assert row, f"docs/contract.md has no row for {error.__name__} with code {error.code}"
    assert error.retryable == ("retryable" in row.group(0))


def test_the_page_names_the_version_and_the_group() -> None:
    assert f"Contract version: **{CONTRACT_VERSION}**" in PAGE
    assert f'"{ENTRY_POINT_GROUP}"' in PAGE
