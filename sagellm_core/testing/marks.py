"""What the suite's tests say about themselves, as plain attributes.

Marks of pytest's own would have to be registered before the suite is imported, and a star import
cannot do that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

#: Attribute of a class: its group.
GROUP = "conformance_group"
#: Attribute of a class or test: capabilities of which the plugin must declare at least one.
NEEDS = "conformance_needs"
#: Attribute of a test: capabilities that it proves where it passes.
PROVES = "conformance_proves"
#: The same, of a test with a plugin that has no weights which a reference could compute.
PROVES_UNWEIGHTED = "conformance_proves_unweighted"


def group(name: str) -> Callable[[type], type]:
    """Puts a class into a group."""

    def put(kind: type) -> type:
        setattr(kind, GROUP, name)
        return kind

    return put


def needs(*capabilities: str) -> Callable[[F], F]:
    """The tests of a class, or one test, ask for one of these capabilities."""

    def put(thing: F) -> F:
        setattr(thing, NEEDS, tuple(map(str, capabilities)))
        return thing

    return put


def proves(*capabilities: str, unweighted: tuple[str, ...] = ()) -> Callable[[F], F]:
    """A test proves these capabilities where it passes.

    :param unweighted: those that it proves of a plugin that needs no model files: right and wrong
        cannot be told there, and consistency has to do.
    """

    def put(thing: F) -> F:
        setattr(thing, PROVES, tuple(map(str, capabilities)))
        setattr(thing, PROVES_UNWEIGHTED, tuple(map(str, unweighted)))
        return thing

    return put
