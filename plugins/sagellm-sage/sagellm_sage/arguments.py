"""Arguments of an operator that its engine does not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagellm_core.contract import ConfigurationError


def taken(
    defaults: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Take an operator's own arguments out of those for its engine.

    A dict as the first positional argument is the configuration, and may have them as keys.

    :param defaults: their names, and the values of those that are not given.
    :returns: positional arguments and keywords for the engine, and what was taken.
    :raises ConfigurationError: one is both in the dict and a keyword.
    """
    by_keyword = {key: value for key, value in kwargs.items() if key in defaults}
    rest = {key: value for key, value in kwargs.items() if key not in defaults}
    in_dict: dict[str, Any] = {}
    if args and isinstance(args[0], Mapping):
        in_dict = {key: value for key, value in args[0].items() if key in defaults}
        args = ({key: value for key, value in args[0].items() if key not in defaults}, *args[1:])
    twice = sorted(set(by_keyword) & set(in_dict))
    if twice:
        raise ConfigurationError(f"{twice[0]} was given twice.", hint="Give each argument once.")
    return args, rest, {**defaults, **in_dict, **by_keyword}
