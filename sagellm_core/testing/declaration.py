"""What a vendor declares about a plugin, for the suite to prove."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagellm_core.contract.errors import ConfigurationError
from sagellm_core.contract.plugin import Capability

from .tiny.family import FAMILIES

#: Writes a made file tree below the directory that it is given.
TreeMaker = Callable[[Path], object]

#: Capabilities that core knows.
KNOWN = tuple(str(each) for each in Capability)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One plugin, and what it claims. Checked when constructed.

    :raises ConfigurationError: a field is of the wrong type, or a capability that core does not
        know has no tests of its own.
    """

    #: The entry point's name: the backend name that users type.
    plugin: str
    #: Exactly what ``sagellm_plugin_info`` declares. Each needs a test that passed.
    capabilities: AbstractSet[str]
    #: File of expected failures, beside the file with this declaration: lines of
    #: ``test_id  # reason``.
    xfails: str | os.PathLike[str] | None = None
    #: Whether a machine without a usable device is a failure. Where not, what needs a device is
    #: skipped there, and says so.
    device_required: bool = True
    #: Handed to ``sagellm_load_model`` with every model.
    provider_options: Mapping[str, Any] = field(default_factory=dict)
    #: Families of tiny random models to compute; ``None``: every one that the suite knows and
    #: the plugin can load.
    model_types: Sequence[str] | None = None
    #: Environment variables by which users hide devices from the plugin.
    visibility: Sequence[str] = ()
    #: Name to what makes a file tree in which the plugin must find a device: the proof that it
    #: honours ``root`` and the variables on machines without the hardware.
    trees: Mapping[str, TreeMaker] = field(default_factory=dict)
    #: A capability of the plugin's own to the tests, in the declaration's file, that prove it.
    #: One without tests is not proven: its verdict is a failure.
    proofs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Seconds that one test may take.
    time_limit: float = 60.0

    def __post_init__(self) -> None:
        if not isinstance(self.plugin, str) or not self.plugin:
            raise _wrong("plugin", self.plugin, "the name of the plugin's entry point")
        object.__setattr__(self, "capabilities", _names("capabilities", self.capabilities))
        if self.model_types is not None:
            self._check_model_types(self.model_types)
        object.__setattr__(self, "visibility", _listed("visibility", self.visibility))
        if self.xfails is not None and not isinstance(self.xfails, (str, os.PathLike)):
            raise _wrong("xfails", self.xfails, "the name of a file")
        if not isinstance(self.device_required, bool):
            raise _wrong("device_required", self.device_required, "True or False")
        limit = self.time_limit
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit > 0:
            raise _wrong("time_limit", limit, "a number of seconds above 0")
        if not isinstance(self.provider_options, Mapping):
            raise _wrong("provider_options", self.provider_options, "a mapping")
        if not isinstance(self.trees, Mapping) or not all(map(callable, self.trees.values())):
            raise _wrong("trees", self.trees, "a mapping of name to a function of a directory")
        self._check_proofs()

    def to_dict(self) -> dict[str, Any]:
        """What judging results and reporting them needs, as plain data; functions are left out."""
        return {
            "plugin": self.plugin,
            "capabilities": sorted(map(str, self.capabilities)),
            "device_required": self.device_required,
            "provider_options": {
                str(name): _plain(value) for name, value in self.provider_options.items()
            },
            "proofs": {name: list(tests) for name, tests in self.proofs.items()},
            "time_limit": self.time_limit,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Declaration:
        """What :meth:`to_dict` gave."""
        return cls(**{**data, "capabilities": frozenset(data["capabilities"])})

    def _check_model_types(self, given: Sequence[str]) -> None:
        object.__setattr__(self, "model_types", _listed("model_types", given))
        for model_type in given:
            if model_type not in FAMILIES:
                raise ConfigurationError(
                    f"Declaration.model_types has {model_type!r}, which the suite cannot compute.",
                    hint=f"It knows {', '.join(FAMILIES)}.",
                )

    def _check_proofs(self) -> None:
        if not isinstance(self.proofs, Mapping):
            raise _wrong("proofs", self.proofs, "a mapping of capability to names of tests")
        for capability, tests in self.proofs.items():
            if capability not in self.capabilities:
                raise ConfigurationError(
                    f"Declaration.proofs names {capability!r}, which is not among the declared "
                    "capabilities.",
                    hint="Declare it, or take its tests out of proofs.",
                )
            _listed(f"proofs[{capability!r}]", tests)
        for capability in sorted(self.capabilities):
            if capability not in KNOWN and capability not in self.proofs:
                raise ConfigurationError(
                    f"Declaration.capabilities has {capability!r}, which core does not know and "
                    "no test proves.",
                    hint="Name its tests, as in proofs={"
                    f"{capability!r}: ['test_{capability}']}}. Core knows {', '.join(KNOWN)}.",
                )


def _plain(value: Any) -> Any:
    """A value as JSON has it, or how it is shown."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return repr(value)


def _names(name: str, value: Any) -> frozenset[str]:
    return frozenset(_listed(name, value))


def _listed(name: str, value: Any) -> tuple[str, ...]:
    # A string is a collection of strings too, and always a forgotten pair of brackets here.
    if isinstance(value, str) or not isinstance(value, Collection):
        raise _wrong(name, value, "a collection of strings")
    if not all(isinstance(each, str) and each for each in value):
        raise _wrong(name, value, "a collection of strings")
    return tuple(str(each) for each in value)


def _wrong(name: str, value: object, wanted: str) -> ConfigurationError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return ConfigurationError(
        f"Declaration.{name} is {shown}, not {wanted}.", hint=f"Pass {wanted}."
    )
