"""``plugins why``: everything is explained, and no plugin's fault raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import (
    ConfigurationError,
    ModelDescription,
    ModelFormat,
    ModelFormatError,
)
from sagellm_core.models import ModelNotLocalError
from sagellm_core.providers import Explanation, explain


def describe(reference: str, *, allow_download: bool) -> ModelDescription:
    assert not allow_download
    if reference == "hub":
        raise ModelNotLocalError("'hub' is not on disk.")
    if reference == "broken":
        raise ModelFormatError("'broken' is truncated.")
    return ModelDescription(reference=reference, format=ModelFormat.GGUF, path=Path("/m"))


def codes(explanation: Explanation) -> dict[str, str | None]:
    return {
        each.entry.name: each.rejection.code if each.rejection else None
        for each in explanation.candidates
        if each.entry.dist.startswith("sagellm-fake")
    }


def fill(site: Any) -> None:
    site.add("best", dist="sagellm-fake-best", priority=2)
    site.add("next", dist="sagellm-fake-next", priority=1)
    site.add("sick", dist="sagellm-fake-sick", head="raise RuntimeError('no luck')")
    site.add("sim", dist="sagellm-fake-sim", device_class="SIMULATED")
    site.add("old", dist="sagellm-fake-old", requires=["sagellm-core>=9"])


def test_every_candidate_is_ranked_or_rejected(plugin_site: Any) -> None:
    fill(plugin_site)
    why = explain("local", plugin_site.controls(), describe=describe)
    assert codes(why) == {
        "best": None,
        "next": None,
        "old": "core_requirement",
        "sick": "raised",
        "sim": "simulated",
    }
    assert why.chosen is not None
    assert why.chosen == why.candidates[0]
    assert why.chosen.entry.name == "best"
    assert why.why == "best on dev:0 is before next on dev:0: priority 2 before 1."
    assert why.error is None
    assert why.candidates[1].rank == 2
    assert len(why.warnings) == 2


def test_without_a_model(plugin_site: Any) -> None:
    fill(plugin_site)
    why = explain(None, plugin_site.controls())
    assert why.chosen is not None
    assert why.chosen.entry.name == "best"
    assert why.chosen.answer is None
    assert why.model_error is None


def test_a_model_that_is_not_on_disk_is_not_fetched(plugin_site: Any) -> None:
    fill(plugin_site)
    why = explain("hub", plugin_site.controls(), describe=describe)
    assert why.chosen is not None
    assert isinstance(why.model_error, ModelNotLocalError)
    assert why.error is None


def test_a_broken_model_is_the_verdict(plugin_site: Any) -> None:
    fill(plugin_site)
    why = explain("broken", plugin_site.controls(), describe=describe)
    assert why.chosen is None
    assert isinstance(why.error, ModelFormatError)
    assert codes(why)["best"] is None


def test_a_plugin_that_takes_any_model_needs_no_description(plugin_site: Any) -> None:
    plugin_site.add("any", dist="sagellm-fake-any", capabilities="frozenset({'any_model'})")
    why = explain("broken", plugin_site.controls(), describe=describe)
    assert why.chosen is not None
    assert (why.model_error, why.error) == (None, None)


def test_a_backend_by_name_leaves_the_others_out(plugin_site: Any) -> None:
    fill(plugin_site)
    why = explain("local", plugin_site.controls("next"), describe=describe)
    assert why.chosen is not None
    assert why.chosen.entry.name == "next"
    assert codes(why)["best"] == "not_requested"
    assert codes(why)["old"] == "core_requirement"
    assert len(why.reports) == 1


@pytest.mark.parametrize(
    ("backend", "code"),
    [
        ("nobody", "unknown_provider"),
        ("sick", "broken_provider"),
        ("old", "incompatible_provider"),
    ],
)
def test_a_backend_that_cannot_run_is_the_verdict(
    plugin_site: Any, backend: str, code: str
) -> None:
    fill(plugin_site)
    why = explain("local", plugin_site.controls(backend), describe=describe)
    assert why.chosen is None
    assert why.error is not None
    assert why.error.code == code
    assert set(codes(why)) == {"best", "next", "old", "sick", "sim"}


def test_it_is_plain_data_for_json(plugin_site: Any) -> None:
    fill(plugin_site)
    data = json.loads(
        json.dumps(explain("local", plugin_site.controls(), describe=describe).to_dict())
    )
    assert data["chosen"] == "best on dev:0"
    assert [each["rank"] for each in data["candidates"][:3]] == [1, 2, None]
    assert data["candidates"][0]["chosen"] is True
    assert {each["rejection"]["code"] for each in data["candidates"][2:]} >= {"raised"}


def test_a_control_that_names_nobody_does_raise(plugin_site: Any) -> None:
    fill(plugin_site)
    with pytest.raises(ConfigurationError, match="nobody"):
        explain(None, plugin_site.controls()._replace(block=("nobody",)))
