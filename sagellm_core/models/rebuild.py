"""A registry made anew from what can still be read of it and from what lies on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .completeness import why_incomplete
from .entry import size_of, write_entry
from .marker import read_marker
from .model_name import id_of_directory, is_model_id

#: A text that was made to fail again and again, each time after megabytes, is given up.
_MOST_FAILURES = 32
_ENTRY = re.compile(r'("(?:[^"\\]|\\.){1,400}")\s*:\s*(?=\{)')


def rebuild(root: Path, text: str) -> dict[str, Any]:
    """Entries for a registry whose file is corrupt.

    Those that are still whole in the file are taken as they are, so that models which lie
    elsewhere and the times of last use are not lost; the directories under the root that hold a
    whole model make up for the others.

    :param text: the corrupt file, or what could be read of it.
    """
    entries = dict(_still_readable(text))
    known = {str(root / entry["path"]) for entry in entries.values()}
    for model_id, entry in find_models(root):
        if model_id not in entries and entry["path"] not in known:
            entries[model_id] = entry
    return entries


def find_models(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and entry of each directory under ``root`` that holds a whole model.

    The id is that of the directory's marker, or else what its name says.
    """
    try:
        places = sorted(place for place in root.iterdir() if not place.name.startswith("."))
    except OSError:
        return
    for place in places:
        if not place.is_dir():
            continue
        marker = read_marker(place)
        model_id = marker.model_id if marker else id_of_directory(place.name)
        if model_id is None or not is_model_id(model_id) or why_incomplete(place):
            continue
        yield (
            model_id,
            write_entry(
                place,
                marker.revision if marker else _revision_in(model_id),
                size_of(place),
                place.stat().st_mtime,
                marker.tags if marker else (),
                marker.commit if marker else "",
            ),
        )


def _revision_in(model_id: str) -> str:
    return model_id.partition("@")[2].partition(":")[0]


def _still_readable(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    decoder = json.JSONDecoder()
    at = failures = 0
    while failures < _MOST_FAILURES and (found := _ENTRY.search(text, at)):
        try:
            model_id = json.loads(found[1])
            value, at = decoder.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            at = found.end()
            failures += 1
            continue
        path = value.get("path") if isinstance(value, dict) else None
        if isinstance(path, str) and path and "\0" not in path and is_model_id(model_id):
            yield model_id, value
