"""Whether a plugin offers what is wanted of a model: generating text, or embedding."""

from __future__ import annotations

from collections.abc import Collection

from sagellm_core.contract.model import LoadAnswer
from sagellm_core.contract.plugin import Capability, PluginInfo

from .rejection import Rejection

#: Capabilities each of which opens a model for something.
_OPENING = (Capability.GENERATE, Capability.ENGINE, Capability.EMBED)
#: What is wanted, and the capabilities of which any one offers it.
_OFFERED_BY = {
    Capability.GENERATE: (Capability.GENERATE, Capability.ENGINE),
    Capability.EMBED: (Capability.EMBED,),
}


def is_declared(info: PluginInfo, wanted: Capability) -> bool:
    """Whether the plugin declares ``wanted``, ``GENERATE`` or ``EMBED``.

    A plugin that declares nothing to open is taken to generate: its opener tells.
    """
    if wanted is Capability.GENERATE and info.capabilities.isdisjoint(_OPENING):
        return True
    return _offers(info.capabilities, wanted)


def capability_gate(
    title: str, info: PluginInfo, answer: LoadAnswer | None, wanted: Capability
) -> Rejection | None:
    """Why the plugin cannot be opened for what is wanted, by itself or with this model.

    :param title: the plugin, for the sentence.
    """
    if not is_declared(info, wanted):
        if wanted is Capability.EMBED:
            return Rejection(
                "no_capability",
                f"{title} does not embed: it lacks the capability 'embed'.",
                "Use a provider that embeds; `sagellm plugins why --embed` shows them.",
            )
        return Rejection(
            "no_capability",
            f"{title} only embeds; it does not generate text.",
            "Use EmbeddingEngine with it, and another provider to generate text.",
        )
    if answer is None or answer.capabilities is None or _offers(answer.capabilities, wanted):
        return None
    if wanted is Capability.EMBED:
        return Rejection(
            "model_capability",
            f"{title} cannot embed with this model.",
            "Use another model, or a provider that embeds with this one.",
        )
    if _offers(answer.capabilities, Capability.EMBED):
        return Rejection(
            "model_capability",
            f"{title} says that this model only embeds; it does not generate text.",
            "Use EmbeddingEngine with this model, or another model to generate text.",
        )
    return Rejection(
        "model_capability",
        f"{title} cannot generate text with this model.",
        "Use another model, or a provider that generates text with this one.",
    )


def _offers(capabilities: Collection[str], wanted: Capability) -> bool:
    return any(each in capabilities for each in _OFFERED_BY[wanted])
