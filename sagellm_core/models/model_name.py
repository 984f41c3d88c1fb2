"""Ids of models: what they may look like, their parts, and the directory that each gets."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from .errors import ModelRegistryError

_PART = r"[A-Za-z0-9][\w.+-]*"
_ID = re.compile(
    rf"(?P<repo>{_PART}(?:/{_PART})*)"
    r"(?:@(?P<revision>[\w.+-]+(?:/[\w.+-]+)*))?"
    r"(?::(?P<file>[\w.+-]+\.gguf))?",
    re.ASCII | re.IGNORECASE,
)
_HINT = (
    "Use letters, digits and . _ + - with '/' between parts, as in org/name, org/name@revision "
    "or org/name:file.gguf."
)
#: The longest name of a file is 255 bytes; locks and digests are appended to these.
_LONGEST_DIRECTORY = 220


@dataclass(frozen=True, slots=True)
class ModelName:
    """An id taken apart: ``repo[@revision][:file.gguf]``."""

    repo: str
    revision: str = ""
    #: One GGUF file of a repository that has several.
    file: str = ""

    @classmethod
    def parse(cls, model_id: str, revision: str | None = None) -> ModelName:
        """The parts of an id.

        :param revision: of a caller that passes it apart; the id may name the same one.
        :raises ModelRegistryError: it cannot be an id, or it names another revision.
        """
        match = _match(model_id)
        if match is None:
            raise ModelRegistryError(
                f"{str(model_id)[:80]!r} cannot be the id of a model.", hint=_HINT
            )
        if len(model_id) > 200:
            raise ModelRegistryError(
                f"The id has {len(model_id)} characters; at most 200 are allowed.", hint=_HINT
            )
        name = cls(match["repo"], match["revision"] or "", match["file"] or "")
        if not revision:
            return name
        if name.revision and name.revision != revision:
            raise ModelRegistryError(
                f"The id {model_id!r} and revision={revision!r} name two revisions.",
                hint="Pass the revision once.",
            )
        return cls.parse(replace(name, revision=revision).key)

    @property
    def key(self) -> str:
        """The id under which the registry keeps it."""
        at = f"@{self.revision}" if self.revision else ""
        return self.repo + at + (f":{self.file}" if self.file else "")

    @property
    def directory(self) -> str:
        """``org__name[__revision][__file.gguf]``.

        :raises ModelRegistryError: that is too long for a file system.
        """
        parts = (self.repo, self.revision, self.file)
        name = "__".join(part.replace("/", "__") for part in parts if part)
        if len(name) > _LONGEST_DIRECTORY:
            raise ModelRegistryError(
                f"The id {self.key[:80]!r}... needs a directory name of {len(name)} characters; "
                f"at most {_LONGEST_DIRECTORY} are allowed.",
                hint="Use a commit instead of a long branch name.",
            )
        return name

    @property
    def other_directory(self) -> str:
        """For the rare id whose directory another has: ``a__b/c`` and ``a/b__c``."""
        return f"{self.directory}~{hashlib.sha256(self.key.encode()).hexdigest()[:8]}"


def is_model_id(model_id: object) -> bool:
    """Whether a model may be registered under ``model_id``."""
    return _match(model_id) is not None and len(str(model_id)) <= 200


def require_text(model_id: object) -> str:
    """``model_id`` itself, whatever it says.

    :raises ModelRegistryError: it is no string.
    """
    if not isinstance(model_id, str):
        raise ModelRegistryError(
            f"The id of a model is a string, not {type(model_id).__name__}.", hint=_HINT
        )
    return model_id


def split_key(key: str) -> ModelName:
    """The parts of a key as others may have written it; one that is no id is all ``repo``."""
    match = _match(key)
    if match is None:
        return ModelName(key)
    return ModelName(match["repo"], match["revision"] or "", match["file"] or "")


def id_of_directory(directory: str) -> str | None:
    """The id that a directory without a marker stands for, as far as its name tells.

    ``org__name`` and ``org__name__revision``: where the name itself has ``__`` the last part
    counts as the revision.
    """
    parts = directory.partition("~")[0].split("__")
    if not all(parts):
        return None
    file = parts.pop() if len(parts) > 2 and parts[-1].lower().endswith(".gguf") else ""
    revision = parts.pop() if len(parts) > 2 else ""
    repo = parts[0] if len(parts) == 1 else f"{parts[0]}/{'__'.join(parts[1:])}"
    key = ModelName(repo, revision, file).key
    return key if is_model_id(key) else None


def _match(model_id: object) -> re.Match[str] | None:
    if not isinstance(model_id, str) or ".." in model_id:
        return None
    return _ID.fullmatch(model_id)
