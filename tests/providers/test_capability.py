"""Choosing by what the model is wanted for: generating or embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import (
    Capability,
    DeviceUnavailableError,
    ModelDescription,
    ModelFormat,
    NoProviderError,
    SageLLMError,
    UnsupportedModelError,
    UnsupportedOptionError,
)
from sagellm_core.models import ModelNotLocalError
from sagellm_core.providers import ProviderChoice, choose_provider, explain

EMBED, GENERATE = Capability.EMBED, Capability.GENERATE
BOTH = "frozenset({'generate', 'embed'})"
ONLY_EMBEDS = "frozenset({'embed'})"
ONLY_GENERATES = "frozenset({'generate'})"
#: A sentence encoder, as a provider with both capabilities answers for it.
ENCODER = f"LoadAnswer(verdict='yes', bytes_needed=1, capabilities={ONLY_EMBEDS})"
DECODER = f"LoadAnswer(verdict='yes', bytes_needed=1, capabilities={ONLY_GENERATES})"


def describe(reference: str, *, allow_download: bool) -> ModelDescription:
    if reference == "hub" and not allow_download:
        raise ModelNotLocalError("'hub' is not on disk.")
    return ModelDescription(reference=reference, format=ModelFormat.SAFETENSORS, path=Path("/m"))


def choose(
    site: Any, wanted: Capability, backend: str = "auto", reference: str = "m"
) -> ProviderChoice:
    return choose_provider(reference, site.controls(backend), capability=wanted, describe=describe)


def test_auto_takes_the_one_that_does_it(plugin_site: Any) -> None:
    plugin_site.add("npu", capabilities=ONLY_GENERATES)
    plugin_site.add("vec", capabilities=ONLY_EMBEDS)
    embeds = choose(plugin_site, EMBED)
    assert embeds.entry.name == "vec"
    assert embeds.why == "vec on dev:0 is the only provider here that can embed with the model."
    assert choose(plugin_site, GENERATE).entry.name == "npu"


def test_auto_takes_the_one_that_does_it_with_this_model(plugin_site: Any) -> None:
    plugin_site.add("npu", capabilities=BOTH, verdict=ENCODER)
    plugin_site.add("cpux", device_class="CPU", capabilities=BOTH, verdict=DECODER)
    assert choose(plugin_site, EMBED).entry.name == "npu"
    assert choose(plugin_site, GENERATE).entry.name == "cpux"


def test_an_engine_of_the_plugins_own_generates(plugin_site: Any) -> None:
    plugin_site.add("npu", capabilities="frozenset({'engine'})")
    assert choose(plugin_site, GENERATE).entry.name == "npu"
    verdict = "LoadAnswer(verdict='yes', capabilities=frozenset({'engine'}))"
    plugin_site.add("npu2", capabilities="frozenset({'engine'})", verdict=verdict)
    assert choose(plugin_site, GENERATE, "npu2").entry.name == "npu2"


def test_a_plugin_that_declares_nothing_to_open_is_taken_to_generate(plugin_site: Any) -> None:
    plugin_site.add("npu", capabilities="frozenset({'logprobs', 'sings'})")
    assert choose(plugin_site, GENERATE).entry.name == "npu"
    with pytest.raises(NoProviderError, match="does not embed"):
        choose(plugin_site, EMBED)


CASES = {
    "a plugin that only generates": (
        {"capabilities": ONLY_GENERATES},
        EMBED,
        UnsupportedOptionError,
        "npu (sagellm-npu 1.0) does not embed: it lacks the capability 'embed'.",
        "`sagellm plugins why --embed`",
    ),
    "a plugin that only embeds": (
        {"capabilities": ONLY_EMBEDS},
        GENERATE,
        UnsupportedOptionError,
        "npu (sagellm-npu 1.0) only embeds; it does not generate text.",
        "EmbeddingEngine",
    ),
    "a model that only embeds": (
        {"capabilities": BOTH, "verdict": ENCODER},
        GENERATE,
        UnsupportedModelError,
        "npu (sagellm-npu 1.0) says that this model only embeds; it does not generate text.",
        "Use EmbeddingEngine with this model",
    ),
    "a model that only generates": (
        {"capabilities": BOTH, "verdict": DECODER},
        EMBED,
        UnsupportedModelError,
        "npu (sagellm-npu 1.0) cannot embed with this model.",
        "Use another model",
    ),
    "a model that does neither": (
        {
            "capabilities": BOTH,
            "verdict": "LoadAnswer(verdict='yes', capabilities=frozenset())",
        },
        GENERATE,
        UnsupportedModelError,
        "npu (sagellm-npu 1.0) cannot generate text with this model.",
        "Use another model",
    ),
}


@pytest.mark.parametrize("backend", ["npu", "auto"])
@pytest.mark.parametrize("case", CASES)
def test_who_cannot_is_refused_with_a_reason(plugin_site: Any, case: str, backend: str) -> None:
    plugin, wanted, error, message, hint = CASES[case]
    plugin_site.add("npu", **plugin)
    kind: type[SageLLMError] = error if backend == "npu" else NoProviderError
    with pytest.raises(kind) as caught:
        choose(plugin_site, wanted, backend)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_what_a_plugin_never_does_is_said_before_what_it_lacks_here(plugin_site: Any) -> None:
    absent = "[DeviceInfo(id='d', state='absent', reason='no chip')]"
    plugin_site.add("npu", capabilities=ONLY_GENERATES, devices=absent)
    with pytest.raises(UnsupportedOptionError, match="does not embed"):
        choose(plugin_site, EMBED, "npu")


def test_a_broken_plugin_that_does_not_embed_takes_nothing_from_who_embeds(
    plugin_site: Any,
) -> None:
    broken = "[DeviceInfo(id='d', state='present_unusable', reason='no driver')]"
    plugin_site.add("npu", capabilities=ONLY_GENERATES, devices=broken)
    plugin_site.add("cpux", device_class="CPU", capabilities=BOTH)
    assert choose(plugin_site, EMBED).entry.name == "cpux"
    with pytest.raises(DeviceUnavailableError, match="no driver"):
        choose(plugin_site, GENERATE)


def test_nothing_is_fetched_where_nobody_embeds(plugin_site: Any) -> None:
    plugin_site.add("npu", capabilities=ONLY_GENERATES)
    with pytest.raises(NoProviderError, match="can embed with 'hub' here"):
        choose(plugin_site, EMBED, reference="hub")


def test_a_fetched_model_that_only_embeds(plugin_site: Any) -> None:
    plugin_site.add("npu", capabilities=BOTH, verdict=ENCODER)
    assert choose(plugin_site, EMBED, reference="hub").entry.name == "npu"
    with pytest.raises(NoProviderError, match="only embeds"):
        choose(plugin_site, GENERATE, reference="hub")


def test_the_explanation_names_it(plugin_site: Any) -> None:
    plugin_site.add("npu", capabilities=BOTH, verdict=ENCODER)
    plugin_site.add("old", capabilities=ONLY_GENERATES)
    told = explain("m", plugin_site.controls(), capability=EMBED, describe=describe)
    assert told.chosen is not None
    assert told.chosen.entry.name == "npu"
    codes = {each.entry.name: each.rejection.code for each in told.candidates if each.rejection}
    assert codes["old"] == "no_capability"
    told = explain("m", plugin_site.controls("npu"), describe=describe)
    assert told.chosen is None
    assert isinstance(told.error, UnsupportedModelError)
    assert told.candidates[0].rejection is not None
    assert told.candidates[0].rejection.code == "model_capability"
