"""A change of a configuration file: what it is, what it looks like, and making it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from .editing import with_values
from .file_text import decode, encoding_of, expand, read_bytes
from .problem import ProblemFound
from .replacing import back_up, replace
from .section import section_of
from .whereabouts import find_config_file


class Change:
    """Three keys of one section of one file. Nothing is written before :meth:`write`."""

    def __init__(self, path: Path, section: str, data: bytes | None) -> None:
        self.path = path
        self.section = section
        self._data = data
        self._before = "" if data is None else decode(path, data)
        self._after = self._before
        # Says at once what is wrong with the file; whatever text comes of it is not used.
        with_values(path, self._before, section, {})

    def work_out(self, *, backend: str, model: str, max_tokens: int) -> None:
        """Find the new text. A ``max_tokens`` that the section has is the user's, and stays.

        :raises ConfigurationError: the section cannot be changed by itself.
        """
        values: dict[str, str | int] = {"backend_type": backend, "model_path": model}
        try:
            if not self._limited():
                values["max_tokens"] = max_tokens
            self._after = with_values(self.path, self._before, self.section, values)
        except ProblemFound as found:
            raise found.problem.error() from None

    @property
    def needed(self) -> bool:
        """Whether anything would change."""
        return self._after != self._before

    def difference(self) -> list[str]:
        """The lines of a unified diff, without their ends."""
        old = self._before.splitlines()
        new = self._after.splitlines()
        name = str(self.path)
        return list(difflib.unified_diff(old, new, name, name, lineterm=""))

    def problems(self) -> list[str]:
        """What is wrong with the section apart from this change."""
        from .document import parse_document

        document = parse_document(self.path, self._after)
        found = section_of(document, self.section).problems()
        return [f"{each.where}: {each.message} {each.hint}" for each in found]

    def write(self, *, backup: bool) -> Path | None:
        """Put the new text in the old one's place; returns where the old one is kept.

        :raises ConfigurationError: the file was changed meanwhile, or cannot be written.
        """
        kept = None
        encoding = "utf-8" if self._data is None else encoding_of(self._data)
        if backup and self._data is not None:
            kept = back_up(self.path, self._data)
        replace(self.path, self._data, self._after.encode(encoding))
        return kept

    def _limited(self) -> bool:
        from .document import parse_document

        try:
            section = section_of(parse_document(self.path, self._before), self.section)
        except ProblemFound:
            return False  # There is no such section yet.
        wrong = {problem.place for problem in section.problems()}
        places = section.places.get(("max_tokens",))
        return places is not None and not wrong & set(places)


def plan(path: str | os.PathLike[str] | None, section: str) -> Change:
    """A change of a file that is there or is to be made.

    :param path: ``None``: the file that would be read, or else ``config.yaml`` here.
    :raises ConfigurationError: the file cannot be read, or is not valid YAML.
    """
    try:
        place = expand(path) if path is not None else find_config_file() or Path("config.yaml")
        try:
            place.lstat()
        except FileNotFoundError:
            return Change(place, section, None)
        except OSError:
            pass  # reading says why
        return Change(place, section, read_bytes(place))
    except ProblemFound as found:
        raise found.problem.error() from None
