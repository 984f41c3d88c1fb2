"""Models of other registries, registered here where they lie; nothing is copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .completeness import why_incomplete
from .entry import read_entries, size_of, write_entry
from .errors import ModelRegistryError
from .model_name import is_model_id
from .rebuild import find_models
from .registry_file import RegistryFile
from .registry_root import RegistryRoot, foreign_roots, written_root


@dataclass(frozen=True, slots=True)
class Adoption:
    """What became of one model."""

    model_id: str
    path: Path
    #: ``adopted``; ``present`` (it was there already); ``incomplete``; ``refused`` (its id, or
    #: its place, cannot be registered).
    outcome: Literal["adopted", "present", "incomplete", "refused"]
    #: One sentence, unless it was adopted.
    reason: str = ""
    #: The registry it was found in.
    source: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {
            "model_id": self.model_id,
            "path": str(self.path),
            "outcome": self.outcome,
            "reason": self.reason,
            "source": str(self.source) if self.source else None,
        }


@dataclass(frozen=True, slots=True)
class _Candidate:
    model_id: str
    path: Path
    entry: dict[str, Any]
    source: Path
    is_stray: bool = False


def import_models(
    source: Path | str | None = None, root: Path | str | None = None
) -> list[Adoption]:
    """Register the models of other registries, and forget none of theirs.

    Everything that ``metadata.json`` of the source names, and every directory in it that holds a
    whole model. Doing it again changes nothing.

    :param source: a registry's directory; by default those of SAGE: the old vLLM one, and that
        of isage 0.3.
    :returns: each model that was found, and what became of it.
    :raises ModelRegistryError: there is no directory at ``source``, or its registry cannot be
        read, or ours not written.
    """
    file = RegistryFile(written_root(root))
    if source is None:
        sources: tuple[RegistryRoot, ...] = foreign_roots()
    else:
        sources = (RegistryRoot(written_root(source).path, "source"),)
        if not sources[0].path.is_dir():
            raise ModelRegistryError(
                f"There is no directory {sources[0].path}.", hint="Pass the root of a registry."
            )
    candidates = [candidate for place in sources for candidate in _candidates(place)]
    # Headers are read before the lock is taken.
    problems = [_problem(candidate) for candidate in candidates]
    if all(problem is not None for problem in problems):
        return [
            Adoption(each.model_id, each.path, problem[0], problem[1], each.source)
            for each, problem in zip(candidates, problems, strict=True)
            if problem is not None
        ]
    found = []
    with file.change() as entries:
        here = {info.model_id: info.path for info in read_entries(file.root, entries)}
        for each, problem in zip(candidates, problems, strict=True):
            if problem is not None:
                found.append(Adoption(each.model_id, each.path, *problem, each.source))
            elif each.model_id in here:
                mine = here[each.model_id]
                same = mine.resolve() == each.path.resolve()
                reason = "It is registered already" + ("." if same else f", at {mine}.")
                found.append(Adoption(each.model_id, each.path, "present", reason, each.source))
            else:
                entries[each.model_id] = each.entry
                here[each.model_id] = each.path
                found.append(Adoption(each.model_id, each.path, "adopted", "", each.source))
    return found


def _candidates(place: RegistryRoot) -> Iterator[_Candidate]:
    known = set()
    for info in read_entries(place, RegistryFile(place).read()):
        path = info.path
        if not path.exists() and (place.path / path.name).is_dir():
            path = place.path / path.name  # the registry was moved as a whole
        known.add(path.resolve())
        entry = write_entry(
            path.absolute(),
            info.revision,
            info.size_bytes or (size_of(path) if path.exists() else 0),
            info.last_used,
            info.tags,
            info.commit,
        )
        yield _Candidate(info.model_id, path, entry, place.path, info.is_stray)
    for model_id, entry in find_models(place.path):
        path = Path(entry["path"])
        if path.resolve() not in known:
            yield _Candidate(model_id, path, entry, place.path)


def _problem(candidate: _Candidate) -> tuple[Literal["refused", "incomplete"], str] | None:
    if not is_model_id(candidate.model_id):
        return "refused", "Its id cannot be registered here."
    if candidate.is_stray:
        return "refused", f"Its path leads out of {candidate.source}."
    reason = why_incomplete(candidate.path)
    return ("incomplete", reason) if reason else None
