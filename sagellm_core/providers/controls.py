"""What the user wants of the plugins: which to use, which to leave alone, in which order."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import NamedTuple

from sagellm_core.contract.errors import ConfigurationError

from .naming import listed, nearest

_OFF = frozenset({"0", "false", "no", "off"})
_ON = frozenset({"", "1", "true", "yes", "on"})


class Controls(NamedTuple):
    """The user's wishes, from arguments and environment variables."""

    #: A plugin's name, or ``auto``.
    backend: str = "auto"
    #: The only plugins that ``auto`` may use (``SAGELLM_PLUGINS``); ``None``: no such list.
    allow: tuple[str, ...] | None = None
    #: Plugins that nothing may use (``SAGELLM_DISABLE_PLUGINS``, ``-p no:NAME``), not even
    #: an explicit ``backend``.
    block: tuple[str, ...] = ()
    #: Whether ``auto`` may use plugins that ``allow`` does not name (``SAGELLM_PLUGIN_AUTOLOAD``).
    autoload: bool = True
    #: Plugin names, or ``NAME:DEVICE``, best first (``SAGELLM_DEVICE_ORDER``). A device id that
    #: begins with the plugin's name, as in ``gpu:1``, may stand alone.
    device_order: tuple[str, ...] = ()
    #: Whether ``auto`` may pass over a plugin that is broken although its hardware is present.
    allow_fallback: bool = False

    @classmethod
    def from_environment(
        cls,
        env: Mapping[str, str] = os.environ,
        *,
        backend: str | None = None,
        disable: Collection[str] = (),
        allow_fallback: bool = False,
    ) -> Controls:
        """Read the variables; a ``backend`` named by the caller wins over ``SAGELLM_BACKEND``.

        :param disable: the names of ``-p no:NAME``.
        :raises ConfigurationError: ``SAGELLM_PLUGIN_AUTOLOAD`` is neither on nor off. Names are
            checked by :func:`~sagellm_core.providers.discover`, which knows the plugins.
        """
        wanted = (backend or "").strip()
        if wanted in ("", "auto"):
            wanted = env.get("SAGELLM_BACKEND", "").strip() or "auto"
        allow = _names(env, "SAGELLM_PLUGINS")
        block = (*_names(env, "SAGELLM_DISABLE_PLUGINS"), *disable)
        return cls(
            backend=wanted,
            allow=allow or None,
            block=tuple(dict.fromkeys(block)),
            autoload=_switch(env, "SAGELLM_PLUGIN_AUTOLOAD"),
            device_order=_names(env, "SAGELLM_DEVICE_ORDER"),
            allow_fallback=allow_fallback,
        )

    def check_names(self, installed: Collection[str]) -> None:
        """Refuse a name that no installed plugin has.

        A misspelt name would otherwise be a wish that is silently not granted.

        :raises ConfigurationError: naming the control, the name and what was probably meant.
        """
        wishes = (
            ("SAGELLM_PLUGINS", self.allow or ()),
            ("SAGELLM_DISABLE_PLUGINS or -p no:NAME", self.block),
            ("SAGELLM_DEVICE_ORDER", tuple(wish.partition(":")[0] for wish in self.device_order)),
        )
        for control, names in wishes:
            for name in names:
                if name not in installed:
                    near = nearest(name, installed)
                    meant = f"Did you mean {near!r}? " if near else ""
                    raise ConfigurationError(
                        f"{control} names {name!r}, and no installed plugin has that name.",
                        hint=f"{meant}Installed plugins: {listed(installed)}.",
                    )


def _names(env: Mapping[str, str], variable: str) -> tuple[str, ...]:
    words = (word.strip() for word in env.get(variable, "").split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def _switch(env: Mapping[str, str], variable: str) -> bool:
    value = env.get(variable, "").strip().lower()
    if value in _OFF:
        return False
    if value in _ON:
        return True
    raise ConfigurationError(
        f"{variable}={env[variable]!r} is neither on nor off.",
        hint=f"Set {variable}=0 to turn it off, or unset it.",
    )
