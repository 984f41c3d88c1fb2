"""The sandbox that chat templates run in. Importing this imports jinja2.

A template comes with the model, from whoever made the model. jinja2's immutable sandbox keeps it
from reaching Python; the limits here keep an absurd one from taking the machine with it. They
catch loops over ranges, output and arithmetic. jinja2 has no ``while``, so what is left is loops
nested over long inputs.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import cache, wraps
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

#: Largest string, list or integer (in bits) that arithmetic may make.
_MAX_RESULT = 64 << 20
#: Widest field that formatting, centring and indenting may fill.
_MAX_WIDTH = 10_000
#: A field of that width in a format string: ``%09999d``, ``%.99999f``, ``{:>99999}``.
_WIDE_FIELD = re.compile(r"%[-+ #0]*\d*\.?\d{5,}|\{[^{}]*:[^{}]*\d{5,}")
#: Filters of jinja2 that take a width or a count.
_FILLING_FILTERS = ("batch", "center", "format", "indent", "slice")
_FILLING_METHODS = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rendering may use."""

    #: Real templates take milliseconds.
    seconds: float = 10.0
    #: Characters written; no model reads as much.
    output: int = 64 << 20
    #: Items of all ranges together.
    range_items: int = 1_000_000


class _Budget:
    """What is left of the limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.range_items = limits.range_items
        self._deadline = time.monotonic() + limits.seconds

    def check(self) -> None:
        if time.monotonic() > self._deadline:
            raise SecurityError(f"it ran for longer than {self.limits.seconds:g} s")


_DEFAULTS = Limits()
_budget: ContextVar[_Budget] = ContextVar("budget of the template being rendered")


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _budget.get().check()
        if operator == "*":
            for value, times in ((left, right), (right, left)):
                if (
                    isinstance(value, (str, bytes, list, tuple))
                    and isinstance(times, int)
                    and _weight(value, _MAX_RESULT) * times > _MAX_RESULT
                ):
                    raise SecurityError(f"it repeats {len(value)} items {times} times")
        if operator == "%" and isinstance(left, (str, bytes)):
            _check_format(left)
            if "*" in str(left):  # the width is among the values
                _check_widths(right if isinstance(right, tuple) else (right,))
        if (
            operator == "**"
            and isinstance(left, int)
            and isinstance(right, int)
            and left.bit_length() * right > _MAX_RESULT
        ):
            raise SecurityError(f"it raises a number to the power {right}")
        return super().call_binop(context, operator, left, right)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        _budget.get().check()
        # The context, what is called, and what the template passes.
        _, called, *passed = args
        owner = getattr(called, "__self__", None)
        if isinstance(owner, str):
            if called.__name__ in ("format", "format_map"):
                _check_format(owner)
            elif called.__name__ in _FILLING_METHODS:
                _check_widths(passed)
        return super().call(*args, **kwargs)


def _weight(value: Any, enough: int) -> int:
    """Characters and items in ``value``, counted until there are ``enough``."""
    if isinstance(value, (str, bytes)):
        return len(value)
    total = 0
    pending = [value]
    while pending and total < enough:
        item = pending.pop()
        if isinstance(item, (str, bytes)):
            total += len(item)
        elif isinstance(item, (list, tuple)):
            total += len(item)
            pending.extend(item)
    return total


def _check_format(text: str | bytes) -> None:
    """Refuse a format string with a field of an absurd width or precision."""
    found = _WIDE_FIELD.search(text.decode("latin-1") if isinstance(text, bytes) else text)
    if found:
        raise SecurityError(f"it formats a field as wide as {found.group()[:40]!r}")


def _check_widths(values: Iterable[Any]) -> None:
    """Refuse an absurd width among the arguments of something that fills."""
    for value in values:
        if isinstance(value, int) and abs(value) > _MAX_WIDTH:
            raise SecurityError(f"it fills up to a width of {value}")


def _limited(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of jinja2 that refuses absurd widths."""

    @wraps(plain)  # jinja2 keeps what a filter wants to be passed on the function itself
    def limited(*args: Any, **kwargs: Any) -> Any:
        _check_widths((*args, *kwargs.values()))
        if name == "format" and args and isinstance(args[0], str):
            _check_format(args[0])
        return plain(*args, **kwargs)

    return limited


class _Namespace(Namespace):
    """jinja2's, but for names with an underscore in front: those lead to Python's insides."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        # `self` is a name that a template may use, as it may with jinja2's own class.
        for name in dict(*args[1:], **kwargs):
            _check_name(name)
        Namespace.__init__(*args, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"it keeps {name!r} in a namespace")


class _Generation(Extension):
    """``{% generation %} ... {% endgeneration %}`` marks the assistant's words for training."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body as it stands."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def rendered(template: Any, values: Mapping[str, Any], limits: Limits = _DEFAULTS) -> str:
    """What ``template`` writes.

    :raises jinja2.TemplateError: the template raised it, or crossed a limit.
    """
    budget = _Budget(limits)
    token = _budget.set(budget)
    try:
        pieces: list[str] = []
        length = 0
        for piece in template.generate(values):
            budget.check()
            length += len(piece)
            if length > limits.output:
                raise SecurityError(f"it wrote more than {limits.output} characters")
            pieces.append(piece)
        return "".join(pieces)
    finally:
        _budget.reset(token)


@cache
def environment() -> ImmutableSandboxedEnvironment:
    """The one environment; it holds no state of a template."""
    made = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, loopcontrols],
        # Folding constants would run filters while the template is compiled, out of the limits.
        optimized=False,
    )
    for name in _FILLING_FILTERS:
        made.filters[name] = _limited(name, made.filters[name])
    made.filters["tojson"] = _tojson
    functions: dict[str, Callable[..., Any]] = {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "range": _range,
        "namespace": _Namespace,
    }
    del made.globals["lipsum"]
    made.globals.update(functions)
    return made


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja2's own escapes <, > and &, for HTML.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _range(*args: int) -> range:
    made = range(*args)
    budget = _budget.get()
    # Counted without len(), which fails on ranges longer than a C integer.
    count = max(0, (made.stop - made.start + made.step - (1 if made.step > 0 else -1)) // made.step)
    if count > budget.range_items:
        raise SecurityError(f"its ranges have more than {budget.limits.range_items} items")
    budget.range_items -= count
    return made
