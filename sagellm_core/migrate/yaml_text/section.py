"""One old section below ``generator``, rewritten in the style in which it is written."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import yaml

from sagellm_core.migrate.edit import Edit, Lines
from sagellm_core.migrate.finding import NotUnderstoodError
from sagellm_core.migrate.old_config import Conversion, Entry, convert
from sagellm_core.migrate.settings import Settings

from .tree import Pair, Tree, value_of

#: Scalars that need no quotes in any place of a YAML text.
_PLAIN = re.compile(r"[A-Za-z./~][\w./@+-]*", re.ASCII)


def rewrite_section(
    text: str, lines: Lines, tree: Tree, pair: Pair, settings: Settings
) -> tuple[list[Edit], Conversion]:
    """The edits that make ``generator.sagellm`` out of a section.

    :param pair: the section's name and its content.
    :raises NotUnderstoodError: it cannot be done with certainty.
    """
    section, node = pair.key.value, pair.value
    # An anchor on the value stands before it, between the key and what it holds.
    end = max(node.end_mark.index, pair.key.end_mark.index)
    if (
        pair.shared
        or tree.has_reference(pair.key.start_mark.index, end)
        or node.start_mark.index < (pair.key.start_mark.index)
    ):
        raise NotUnderstoodError("an anchor or an alias shares it with other places")
    if not isinstance(node, yaml.MappingNode):
        raise NotUnderstoodError("it is not a mapping")
    if not node.value:
        raise NotUnderstoodError("it is empty")
    if any(
        not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str"
        for key, _ in node.value
    ):
        raise NotUnderstoodError("a key is not a plain word")
    entries = [Entry(key.value, value_of(value)) for key, value in node.value]
    conversion = convert(
        entries, section=section, chosen_model=settings.model, backend=settings.backend
    )
    if node.flow_style:
        inside = _flow(text, node, conversion, settings)
    else:
        inside = _block(text, lines, node, conversion, settings)
    return [_renamed(text, pair.key, "sagellm"), *inside], conversion


def renamed_value(text: str, node: yaml.ScalarNode, new: str) -> Edit:
    """The edit that gives a scalar another value and keeps its quotes."""
    return _renamed(text, node, new)


def _renamed(text: str, node: yaml.ScalarNode, new: str) -> Edit:
    start, end = node.start_mark.index, node.end_mark.index
    written = text[start:end]
    quote = written[:1] if written[:1] in ('"', "'") else ""
    if written != f"{quote}{node.value}{quote}":
        raise NotUnderstoodError("it is written in an unusual way", node.start_mark.line + 1)
    return Edit(start, end, f"{quote}{new}{quote}")


def _block(
    text: str, lines: Lines, node: yaml.MappingNode, conversion: Conversion, settings: Settings
) -> list[Edit]:
    edits: list[Edit] = []
    options: list[str] = []
    first = node.value[0][0].start_mark.index
    indent = text[lines.start(first) : first]
    if indent.strip(" "):
        raise NotUnderstoodError("its first key does not stand on a line of its own")
    after_last_kept = 0
    for (key, value), step in zip(node.value, conversion.steps, strict=True):
        if step.what == "keep":
            after_last_kept = _end_of_value(text, lines, key, value)
            continue
        if step.what == "rename":
            edits.append(_renamed(text, key, step.key))
            after_last_kept = _end_of_value(text, lines, key, value)
            continue
        start, end = key.start_mark.index, max(value.end_mark.index, key.end_mark.index)
        bol, eol = lines.start(start), lines.end(start)
        if text[bol:start] != indent or (
            lines.number(end) != lines.number(start)
            or (isinstance(value, yaml.ScalarNode) and value.style in ("|", ">"))
        ):
            raise NotUnderstoodError(f"{key.value} is written over several lines")
        rest = text[end:eol].strip()
        if rest and not rest.startswith("#"):
            raise NotUnderstoodError(f"{key.value} shares its line with something else")
        if step.what == "option":
            options.append(indent + "  " + text[start:eol].rstrip("\r\n") + lines.newline)
            edits.append(Edit(bol, eol, ""))
        elif rest:  # the comment outlives what it commented
            edits.append(Edit(start, eol, rest + text[end:eol][len(text[end:eol].rstrip()) :]))
        else:
            edits.append(Edit(bol, eol, ""))
    head = f"{indent}backend_type: {_scalar(settings.backend)}{lines.newline}"
    if any(key.value == "backend_type" for key, _ in node.value):
        head = ""
    if conversion.model_to_add:
        head += f"{indent}model_path: {_scalar(conversion.model_to_add)}{lines.newline}"
    if head:
        edits.append(Edit(lines.start(first), lines.start(first), head))
    if options:
        at = after_last_kept or lines.start(first)
        body = f"{indent}default_options:{lines.newline}" + "".join(options)
        if at == len(text) and text and not text.endswith(("\n", "\r")):
            body = lines.newline + body.rstrip("\r\n")
        edits.append(Edit(at, at, body))
    return edits


def _end_of_value(text: str, lines: Lines, key: yaml.ScalarNode, value: yaml.Node) -> int:
    """Where the line after an entry's last one begins."""
    end = max(value.end_mark.index, key.end_mark.index)
    if end and lines.start(end) == end and end > key.end_mark.index:
        return end  # collections and block scalars end where the next thing begins
    # Blank lines and comments after a collection are not part of it.
    start = value.start_mark.index
    while isinstance(value, yaml.CollectionNode) and not value.flow_style and value.value:
        last = value.value[-1]
        value = last[1] if isinstance(last, tuple) else last
        start = value.start_mark.index
        end = max(value.end_mark.index, start)
    return lines.end(end)


def _flow(
    text: str, node: yaml.MappingNode, conversion: Conversion, settings: Settings
) -> list[Edit]:
    start, end = node.start_mark.index, node.end_mark.index
    if "#" in text[start:end]:
        raise NotUnderstoodError("comments stand between its braces")
    pairs = node.value
    quoted = text[pairs[0][0].start_mark.index] in "\"'"

    def written(name: str, value: str) -> str:
        return f'"{name}": {json.dumps(value)}' if quoted else f"{name}: {_scalar(value)}"

    insert: list[str] = []
    edits: list[Edit] = []
    options: list[str] = []
    if not any(key.value == "backend_type" for key, _ in pairs):
        insert.append(written("backend_type", settings.backend))
    if conversion.model_to_add:
        insert.append(written("model_path", conversion.model_to_add))
    stay: list[tuple[int, int]] = []
    for (key, value), step in zip(pairs, conversion.steps, strict=True):
        span = key.start_mark.index, max(value.end_mark.index, key.end_mark.index)
        if step.what == "option":
            options.append(text[span[0] : span[1]])
        elif step.what != "drop":
            stay.append(span)
            if step.what == "rename":
                edits.append(_renamed(text, key, step.key))
    tail = ""
    if options:
        name = '"default_options"' if quoted else "default_options"
        tail = f"{name}: {{{', '.join(options)}}}"
    first = pairs[0][0].start_mark.index
    last = max(pairs[-1][1].end_mark.index, pairs[-1][0].end_mark.index)
    if not stay:
        return [Edit(first, last, ", ".join([*insert, tail] if tail else insert))]
    # What goes is cut out together with the separator before it, or, at the front, after it.
    edits.append(Edit(first, stay[0][0], "".join(f"{item}, " for item in insert)))
    for before, after in pairwise(stay):
        between = text[before[1] : after[0]]
        if between.count(",") > 1:
            cut = text.rindex(",", before[1], after[0])
            edits.append(Edit(before[1], cut, ""))
    edits.append(Edit(stay[-1][1], last, f", {tail}" if tail else ""))
    return edits


def _scalar(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
