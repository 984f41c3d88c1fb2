"""The generator's section of a configuration file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagellm_core.contract import ConfigurationError

from .checking import Fault, find_faults
from .problem import Place, Problem, ProblemFound
from .schema import SECTION, GeneratorConfig

if TYPE_CHECKING:
    from .document import Document
    from .layers import Layer, Resolved


@dataclass(frozen=True, slots=True)
class Section:
    """What a file says, every key with its place; not checked against the schema yet."""

    path: Path
    #: Keys with dots between them.
    name: str
    values: Mapping[Any, Any]
    #: Path of keys to the places of the key and of its value, two levels deep.
    places: Mapping[tuple[Hashable, ...], tuple[Place, Place]]
    #: Where the section begins.
    place: Place

    def problems(self) -> list[Problem]:
        """Everything that the schema does not allow, in the order of the file."""
        found = [self._located(fault) for fault in find_faults(self.values)]
        return sorted(found, key=lambda problem: problem.place or self.place)

    def layer(self) -> Layer:
        """The section as one layer of a configuration.

        :raises ConfigurationError: the first thing that is wrong in it.
        """
        from .layers import Layer, Origin

        for problem in self.problems():
            raise problem.error()
        origins = {
            key: Origin("file", f"{self.path}:{self.places[(key,)][0].line}") for key in self.values
        }
        return Layer(dict(self.values), origins)

    def _located(self, fault: Fault) -> Problem:
        places = (self.place, self.place)
        for length in range(len(fault.path), 0, -1):
            if fault.path[:length] in self.places:
                places = self.places[fault.path[:length]]
                break
        hint = fault.hint
        value = self.values.get(fault.path[0]) if fault.path else None
        advice = _yaml_advice(str(fault.path[0]), value) if fault.path and not fault.of_key else ""
        return Problem(
            self.path,
            places[0] if fault.of_key else places[1],
            f"{self.name}: {fault.message}",
            advice or hint,
        )


def read_config_file(path: str | Path, section: str = SECTION) -> Section:
    """Read one section of a YAML file.

    The YAML is what ``yaml.safe_load`` takes, anchors and merge keys included, except that a
    key that is there twice is an error. A section without a value is one without keys.

    :param section: keys with dots between them.
    :raises ConfigurationError: the file cannot be read, is not valid YAML, or has no such
        section; the message begins with ``FILE:LINE:COLUMN``. The keys are not checked.
    """
    from .document import read_document

    try:
        document = read_document(path)
        for problem in document.problems:
            raise ProblemFound(problem)
        return section_of(document, section)
    except ProblemFound as found:
        raise found.problem.error() from None


def validate_file(path: str | Path, section: str = SECTION) -> list[Problem]:
    """Everything that is wrong with a file, in the order of its lines; empty for a good one."""
    from .document import read_document

    problems: list[Problem] = []
    try:
        document = read_document(path)
        problems += document.problems
        try:
            problems += section_of(document, section).problems()
        except ProblemFound:
            # With a repeated key, whether the section is there depends on which one goes.
            if not problems:
                raise
    except ProblemFound as found:
        problems.append(found.problem)
    return sorted(problems, key=lambda problem: problem.place or Place(0, 0))


def load_config(
    path: str | Path | None = None,
    section: str = SECTION,
    overrides: Mapping[str, Any] | None = None,
) -> Resolved:
    """The configuration of a file under variables and ``overrides``.

    :param path: ``None``: the file that :func:`find_config_file` finds.
    :raises ConfigurationError: no file is found, or something in it, in a variable or in
        ``overrides`` is wrong.
    """
    from .layers import resolve
    from .whereabouts import find_config_file, searched_places

    if path is None:
        path = find_config_file()
    if path is None:
        places = ", ".join(str(place) for place in searched_places())
        raise ConfigurationError(
            f"No configuration file was found. Looked at: {places}.",
            hint="Name one, set SAGELLM_CONFIG, or make one with: sagellm config auto",
        )
    return resolve((), overrides, section=read_config_file(path, section))


def section_of(document: Document, name: str) -> Section:
    """A section of a document that was read.

    :raises ProblemFound: there is none, or it is no mapping.
    """
    from .document import is_null, kind_of, place_of

    node = document.find(name)
    if is_null(node):
        return Section(document.path, name, {}, {}, place_of(node))
    values = document.construct(node)
    if not isinstance(values, dict):
        message = f"the section {name} is {kind_of(node)}, not a mapping."
        hint = "Write keys and values, as in: backend_type: auto"
        raise ProblemFound(document.problem(node, message, hint))
    return Section(document.path, name, values, document.places(node), place_of(node))


def _yaml_advice(key: str, value: Any) -> str:
    """What to do about values that YAML takes for something else than the writer did."""
    field = GeneratorConfig.model_fields.get(key)
    if field is None:
        return ""
    if value is None:
        return f"Nothing stands there. Give {key} a value, or leave the key out."
    if key == "disable_plugins":
        return "Write a list, as in: [cpu, mock]"
    if isinstance(field.default, bool) and isinstance(value, str):
        if value.lower() in ("true", "false"):
            return f"YAML takes this for text. Write it without quotes: {value.lower()}"
        return ""
    wants_text = field.annotation is str or type(field.default) is str
    if wants_text and not isinstance(value, (str, dict, list)):
        return f"YAML takes this for {type(value).__name__}. Put it in quotes to make it text."
    if isinstance(value, str) and isinstance(field.default, (int, float)):
        try:
            number = float(value)
        except ValueError:
            return ""
        shown = int(number) if number.is_integer() and abs(number) < 1e15 else number
        return f"YAML takes this for text. Write it without quotes and exponent: {shown}"
    return ""
