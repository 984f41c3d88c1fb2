"""What a new plugin may be called, and what follows from its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from sagellm_core.contract import ConfigurationError, DuplicateProviderError
from sagellm_core.providers import PluginEntry
from sagellm_core.providers.naming import RESERVED_NAMES

_PREFIX = "sagellm-"
#: Lower case, and no two separators side by side: so the distribution, the package and the
#: backend cannot differ in more than hyphens and underscores.
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_LONGEST = 40
_FORM = "A name is lower-case ASCII letters, digits and single hyphens, as in 'orbit' or 'orbit-2'."

#: ``sagellm-NAME`` and ``sagellm_NAME`` are core's own, or are made beside it, for these.
_OURS = ("backend", "core", "cpu", "mock", "sage", "sim", "torch")


@dataclass(frozen=True, slots=True)
class PluginName:
    """A name that was checked by :func:`check_name`."""

    #: What users type after ``--backend``.
    backend: str

    @property
    def dist(self) -> str:
        """The distribution, as pip knows it."""
        return _PREFIX + self.backend.replace("_", "-")

    @property
    def package(self) -> str:
        """The import package."""
        return self.dist.replace("-", "_")

    @property
    def node(self) -> str:
        """The name as device nodes and Python identifiers have it."""
        return self.backend.replace("-", "_")

    @property
    def class_prefix(self) -> str:
        """What the names of its classes begin with."""
        return "".join(part.capitalize() for part in self.node.split("_"))

    @property
    def variable(self) -> str:
        """The environment variable by which users hide devices."""
        return f"{self.node.upper()}_VISIBLE_DEVICES"


def check_name(text: str) -> PluginName:
    """Check the name of a new plugin.

    :raises ConfigurationError: it is reserved, or not of the form of a name.
    """
    if text.lower().replace("_", "-").startswith(_PREFIX):
        bare = text[len(_PREFIX) :].lower()
        raise ConfigurationError(
            f"The name {text!r} begins with {_PREFIX!r}, which is put before it anyway.",
            hint=f"Leave it out: {bare!r}." if _NAME.fullmatch(bare) else _FORM,
        )
    if not _NAME.fullmatch(text) or len(text) > _LONGEST:
        near = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        meant = f"Did you mean {near!r}? " if _NAME.fullmatch(near) and near != text else ""
        what = f"longer than {_LONGEST} characters" if len(text) > _LONGEST else "not valid"
        raise ConfigurationError(
            f"The plugin name {text[: _LONGEST + 20]!r} is {what}.", hint=meant + _FORM
        )
    if text in RESERVED_NAMES:
        raise ConfigurationError(
            f"The plugin name {text!r} is reserved: it means something else where a backend is "
            "named.",
            hint="Choose another, such as the name of your device.",
        )
    if text in _OURS:
        raise ConfigurationError(
            f"The plugin name {text!r} is reserved: {_PREFIX}{text} is a distribution of sagellm's "
            "own.",
            hint="Choose another, such as the name of your device.",
        )
    return PluginName(text)


def check_free(name: PluginName, installed: Iterable[PluginEntry]) -> None:
    """See to it that nothing installed here has the name, or owns what would be written.

    :param installed: the plugins that discovery found, rejected ones included.
    :raises DuplicateProviderError: an installed plugin, distribution or package has it.
    """
    hint = "Choose another name, or uninstall it first: pip uninstall {}"
    for entry in installed:
        # Hyphens and underscores make one distribution and one package of two names.
        if entry.name.replace("-", "_") == name.node:
            raise DuplicateProviderError(
                f"The plugin name {name.backend!r} is taken by {entry.dist} {entry.version}, "
                "which is installed.",
                hint=hint.format(entry.dist),
            )
        if entry.dist.lower().replace("_", "-") == name.dist:
            raise DuplicateProviderError(
                f"The distribution {name.dist} would be written, and {entry.dist} "
                f"{entry.version} is installed, with the plugin {entry.name!r}.",
                hint=hint.format(entry.dist),
            )
    if find_spec(name.package) is not None:
        raise DuplicateProviderError(
            f"The package {name.package} would be written, and one of that name is installed.",
            hint="Choose another name.",
        )
