"""What a plugin says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from .version import CONTRACT_VERSION


class DeviceClass(StrEnum):
    """What kind of device a provider drives. Selection prefers accelerators to CPUs."""

    ACCELERATOR = "accelerator"
    CPU = "cpu"
    #: Computes nothing real. ``auto`` never picks it; it runs only when asked for by name.
    SIMULATED = "simulated"


class Capability(StrEnum):
    """Capabilities that core knows. A plugin may declare others of its own beside them."""

    #: Generates text through ``sagellm_open_runner``.
    GENERATE = "generate"
    #: Implements ``sagellm_open_embedder``.
    EMBED = "embed"
    #: Implements ``sagellm_open_engine``.
    ENGINE = "engine"
    #: Returns log-probabilities when :attr:`SamplingParams.logprobs` asks for them.
    LOGPROBS = "logprobs"
    #: Needs no model files: any ``model_path`` is accepted and handed over unresolved.
    ANY_MODEL = "any_model"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """The answer of ``sagellm_plugin_info``."""

    #: The backend name that users type. Must equal the entry point's name.
    name: str
    #: Who makes the device (or the simulation), for people to read.
    vendor: str
    device_class: DeviceClass
    #: The contract version, ``major.minor``, that the plugin was written for.
    contract: str = CONTRACT_VERSION
    #: Values of :class:`Capability`, and any of the plugin's own.
    capabilities: frozenset[str] = field(default_factory=frozenset)
    #: Breaks ties between plugins that could both run a model; larger wins.
    priority: int = 0
    #: One line for ``sagellm plugins list`` and ``doctor``.
    description: str = ""
