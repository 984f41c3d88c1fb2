"""A YAML file as ``yaml.safe_load`` understands it, every value with its place."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .file_text import decode, expand, read_bytes
from .loader import Loader
from .problem import Place, Problem, ProblemFound
from .yaml_error import problem_of

#: Values that a section may have once its aliases are written out.
_LARGEST_SECTION = 10_000

#: What constructing a value may raise besides YAML's own errors, as for the date 2026-13-45.
_VALUE_ERRORS = (ValueError, TypeError, OverflowError, KeyError, IndexError, AttributeError)


@dataclass(frozen=True, slots=True)
class Document:
    """A file that is valid YAML."""

    path: Path
    text: str
    #: ``None``: the file is empty, or has only comments.
    root: yaml.Node | None
    loader: Loader
    #: Repeated keys. YAML forbids them; PyYAML keeps the last one and says nothing.
    problems: tuple[Problem, ...]

    def problem(self, node: yaml.Node | None, message: str, hint: str) -> Problem:
        """A problem at the beginning of ``node``."""
        return Problem(self.path, place_of(node) if node is not None else None, message, hint)

    def find(self, name: str) -> yaml.Node:
        """The node of a section, named by keys with dots between them.

        :raises ProblemFound: there is none; says which there are.
        """
        parts = section_parts(self.path, name)
        node, walked = self.root, ""
        for part in parts:
            inner = self.entry(node, part)
            if inner is None:
                raise ProblemFound(self._missing(node, name, parts, walked))
            node, walked = inner[1], f"{walked}.{part}".lstrip(".")
        assert node is not None
        return node

    def entry(self, node: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
        """Key and value of ``key`` in a mapping; the last one, as PyYAML has it."""
        if not isinstance(node, yaml.MappingNode):
            return None
        self.guarded(lambda: self.loader.flatten_mapping(node), node)
        found = [pair for pair in node.value if self.loader.key_of(pair[0]) == key]
        return found[-1] if found else None

    def construct(self, node: yaml.Node) -> Any:
        """The value of ``node`` in plain Python types.

        :raises ProblemFound: an unknown tag, an impossible date, aliases without end, ...
        """
        self._bound(node)
        self.guarded(lambda: self._check_scalars(node), node)
        return self.guarded(lambda: self.loader.construct_document(node), node)

    def places(self, node: yaml.Node) -> dict[tuple[Hashable, ...], tuple[Place, Place]]:
        """Path to the places of key and value, two levels deep."""
        found: dict[tuple[Hashable, ...], tuple[Place, Place]] = {}
        for key, value, name in self._entries(node):
            found[(name,)] = (place_of(key), place_of(value))
            for inner_key, inner_value, inner_name in self._entries(value):
                found[(name, inner_name)] = (place_of(inner_key), place_of(inner_value))
        return found

    def _entries(self, node: yaml.Node) -> Iterator[tuple[yaml.Node, yaml.Node, Hashable]]:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield key, value, self.loader.key_of(key)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                yield item, item, index

    def guarded(self, action: Any, node: yaml.Node | None) -> Any:
        """The result of ``action``; what it raises becomes a problem."""
        try:
            return action()
        except yaml.YAMLError as error:
            raise ProblemFound(problem_of(self.path, self.text, error)) from None
        except RecursionError:
            message = "the values are nested too deep, or contain themselves."
            raise ProblemFound(self.problem(node, message, "Make them flat.")) from None
        except _VALUE_ERRORS as error:
            message = f"a value cannot be read: {error}."
            hint = "Put it in quotes if it is meant as text."
            raise ProblemFound(self.problem(node, message, hint)) from None

    def _check_scalars(self, root: yaml.Node) -> None:
        """Refuse the first scalar that cannot be read, at its own place and with its key."""
        # A loader does not recover from a scalar that it failed at.
        apart = Loader("")
        for key, value, _ in self._entries(root):
            for node in (key, value):
                if not isinstance(node, yaml.ScalarNode):
                    self._check_scalars(node)
                    continue
                try:
                    apart.construct_object(node)
                except yaml.YAMLError:
                    continue  # has its place; said when the whole is constructed
                except _VALUE_ERRORS:
                    about = f"{_short(key)}: " if node is value and key is not value else ""
                    message = f"{about}{_short(node)} cannot be read as a number or a date."
                    hint = "Correct it, or put it in quotes if it is meant as text."
                    raise ProblemFound(self.problem(node, message, hint)) from None

    def _bound(self, root: yaml.Node) -> None:
        """Refuse aliases that make a small file huge, and values that contain themselves."""
        sizes: dict[int, int] = {}

        def size(node: yaml.Node) -> int:
            known = sizes.get(id(node))
            if known is not None:
                if known < 0:
                    message = "a value contains itself through an alias."
                    raise ProblemFound(self.problem(node, message, "Write it out."))
                return known
            sizes[id(node)] = -1
            total = 1
            if isinstance(node, yaml.MappingNode):
                self.loader.flatten_mapping(node)
                total += sum(size(key) + size(value) for key, value in node.value)
            elif isinstance(node, yaml.SequenceNode):
                total += sum(map(size, node.value))
            sizes[id(node)] = total
            return total

        if self.guarded(lambda: size(root), root) > _LARGEST_SECTION:
            message = f"the section has over {_LARGEST_SECTION} values, counting aliases."
            raise ProblemFound(self.problem(root, message, "Is this the right section?"))

    def _missing(
        self, node: yaml.Node | None, name: str, parts: Sequence[str], walked: str
    ) -> Problem:
        if self.root is None:
            hint = f"Write the section {name} into it, as with: sagellm config auto"
            return Problem(self.path, None, f"the file is empty; it has no section {name}.", hint)
        if not isinstance(node, yaml.MappingNode):
            what = f"{walked} is" if walked else "the file is"
            hint = f"The section {name} must stand in mappings, as in: {_drawn(parts)}"
            message = f"{what} {kind_of(node)}, so there is no section {name}."
            return self.problem(node, message, hint)
        beside = self.entry(node, "vllm")
        if beside is not None and parts[-1] == "sagellm":
            old = ".".join([*parts[:-1], "vllm"])
            return self.problem(
                beside[0],
                f"there is no section {name}, but an old one, {old}; vLLM is gone.",
                f"Run: sagellm migrate {shlex.quote(str(self.path))} (it shows what {old} "
                f"becomes: {name} with backend_type, model_path and max_tokens)",
            )
        sections = self._sections()
        near = difflib.get_close_matches(name, sections, n=1, cutoff=0.8)
        drawn = f"rite it as in: {_drawn(parts)}, or name another with --section or section=."
        return self.problem(
            node,
            f"there is no section {name}. Sections of this file: {', '.join(sections) or 'none'}.",
            f"Is {near[0]} meant to be it? Else w{drawn}" if near else f"W{drawn}",
        )

    def _sections(self) -> list[str]:
        """Mappings of the file, two levels deep, with dots between their keys."""
        names = []
        assert self.root is not None
        for _, value, name in self._entries(self.root):
            inner = [
                f"{name}.{each}"
                for _, node, each in self._entries(value)
                if isinstance(value, yaml.MappingNode) and isinstance(node, yaml.MappingNode)
            ]
            if isinstance(value, yaml.MappingNode):
                names += inner or [str(name)]
        names = list(dict.fromkeys(names))
        return [name if len(name) <= 60 else name[:57] + "..." for name in names[:20]]


def read_document(path: str | Path) -> Document:
    """Read a file.

    :raises ProblemFound: it cannot be read, or it is not one document of valid YAML.
    """
    place = expand(path)
    return parse_document(place, decode(place, read_bytes(place)))


def parse_document(path: Path, text: str) -> Document:
    """Compose the one document of ``text``.

    :raises ProblemFound: as :func:`read_document`.
    """
    try:
        loader = Loader(text)
        root = loader.get_node() if loader.check_node() else None
        if loader.check_node():
            event: yaml.Event = loader.peek_event()  # type: ignore[no-untyped-call]
            message = "a second document begins here; a configuration has one."
            mark = event.start_mark
            place = Place(mark.line + 1, mark.column + 1) if mark is not None else None
            raise ProblemFound(Problem(path, place, message, "Remove it, or the '---' before it."))
        repeated = tuple(_repeated_keys(path, loader, root))
    except yaml.YAMLError as error:
        raise ProblemFound(problem_of(path, text, error)) from None
    except RecursionError:
        message = "the YAML is nested too deep."
        raise ProblemFound(Problem(path, None, message, "Make it flat.")) from None
    return Document(path, text, root, loader, repeated)


def section_parts(path: Path, name: str) -> list[str]:
    """The keys of a section's name.

    :raises ProblemFound: one of them is empty.
    """
    parts = name.split(".") if isinstance(name, str) else [""]
    if not all(part.strip() for part in parts):
        hint = "Write keys with dots between them, as in generator.sagellm."
        raise ProblemFound(Problem(path, None, f"{name!r} is no name of a section.", hint))
    return parts


def place_of(node: yaml.Node) -> Place:
    """Where a node begins."""
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def kind_of(node: yaml.Node | None) -> str:
    """What a node is, with its article."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if node is None or is_null(node):
        return "empty"
    return "a single value"


def is_null(node: yaml.Node) -> bool:
    """Whether a node is nothing, as after a bare ``key:``."""
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _repeated_keys(path: Path, loader: Loader, root: yaml.Node | None) -> Iterator[Problem]:
    pending, seen = [root] if root is not None else [], set[int]()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            first: dict[Hashable, yaml.Node] = {}
            for key, value in node.value:
                pending += (key, value)
                if key.tag == "tag:yaml.org,2002:merge":
                    continue
                before = first.setdefault(loader.key_of(key), key)
                if before is not key:
                    place, line = place_of(key), before.start_mark.line + 1
                    message = f"the key {_short(key)} is here twice: in lines {line} and"
                    yield Problem(path, place, f"{message} {place.line}.", "Remove one of them.")


def _short(key: yaml.Node) -> str:
    value = key.value if isinstance(key, yaml.ScalarNode) else kind_of(key)
    return repr(value if len(value) <= 60 else value[:57] + "...")


def _drawn(parts: Sequence[str]) -> str:
    inner = "{backend_type: auto, model_path: ...}"
    for part in reversed(parts[1:]):
        inner = f"{{{part}: {inner}}}"
    return f"{parts[0]}: {inner}"
