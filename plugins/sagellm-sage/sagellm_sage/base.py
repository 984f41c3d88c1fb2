"""The base class of operators: the map function of the SAGE that is installed."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

#: Where a SAGE has its map function, newest layout first: isage 0.3 and later, isage-common 0.2.
HOMES = ("sage.foundation", "sage.common.core.functions")


class StandaloneMapFunction:
    """What a map function offers, for environments without SAGE."""

    def __init__(self) -> None:
        #: A runtime's context; there is none here.
        self.ctx: Any = None

    @property
    def logger(self) -> logging.Logger:
        """The context's logger, or one with the name of the class."""
        found: logging.Logger | None = getattr(self.ctx, "logger", None)
        return found if found is not None else logging.getLogger(type(self).__name__)

    @property
    def name(self) -> str:
        """The context's name, or that of the class."""
        return str(getattr(self.ctx, "name", type(self).__name__))


def map_function() -> type[Any]:
    """The ``MapFunction`` of the first home that is there, else :class:`StandaloneMapFunction`.

    :raises ImportError: a SAGE is there, and its import fails.
    """
    for home in HOMES:
        try:
            module = import_module(home)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{home}.".startswith(f"{error.name}."):
                continue
            raise  # that SAGE is installed, and lacks something
        base: type[Any] = module.MapFunction
        return base
    return StandaloneMapFunction
