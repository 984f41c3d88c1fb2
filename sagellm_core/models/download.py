"""Downloads from the Hugging Face hub into the registry: whole, once, and resumable.

A download grows in a staging directory under the root and is renamed to
``<root>/org__name[__revision]/`` when every file has the digest that the hub tells. Processes
that want the same model wait for the one that fetches it. The registry's own lock is held for the
renaming only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sagellm_core.contract.errors import ModelFormatError
from sagellm_core.contract.model import ProgressCallback

from .completeness import why_incomplete
from .deletion import delete_aside, move_aside
from .entry import ModelInfo, checked_tags, read_entries, read_entry, size_of, write_entry
from .errors import ModelNotFoundError, ModelRegistryError
from .hub_options import HubOptions
from .marker import Marker, read_marker
from .model_name import ModelName, is_model_id, require_text
from .registry import find_model, get_model_path, touch_model
from .registry_file import RegistryFile
from .registry_root import written_root
from .repository import list_repository, require_hub
from .staging import prepare, staging_directory, staging_lock, unwritable
from .transfer import transfer
from .transfer_bar import reporting

_log = logging.getLogger("sagellm.models")


def download_model(
    model_id: str,
    revision: str | None = None,
    root: Path | str | None = None,
    tags: Iterable[str] | None = None,
    force: bool = False,
    progress: bool | ProgressCallback = True,
    **options: Any,
) -> ModelInfo:
    """Have a model of the hub in the registry.

    A whole one that is there is not fetched again; one that another program registered is
    registered here too, where it lies. Two revisions of one id lie side by side, the one of the
    default branch as ``org/name``, others as ``org/name@revision``.

    :param model_id: ``org/name[@revision][:file.gguf]``, the last to choose one GGUF file.
    :param tags: words to remember with it.
    :param force: fetch everything again; what is there stays until that is done.
    :param progress: a bar on stderr where that is a terminal; or who is told instead of it; or
        nothing at all.
    :param options: of ``huggingface_hub.snapshot_download``: token, endpoint, allow_patterns and
        ignore_patterns (they narrow the choice of files, and never add pickle or code),
        max_workers, etag_timeout, headers, user_agent, library_name, library_version. Any other
        is an error.
    :raises ModelNotFoundError: no such model or revision, no access to it, or no ``[hub]`` extra.
    :raises ModelNotLocalError: SAGELLM_OFFLINE or HF_HUB_OFFLINE forbids it.
    :raises ModelDownloadError: it broke off; what arrived is kept, and used the next time.
    :raises DiskSpaceError: it does not fit on the disk.
    :raises ModelRegistryError: the id or an option is wrong, or the registry is not writable.
    :raises ModelFormatError: the repository has no model in it, or a broken one.
    :raises UnsafeModelError: the repository has pickle weights only.
    """
    name = _hub_name(model_id, revision)
    words = checked_tags(tags)
    hub = HubOptions.checked(options)
    file = RegistryFile(written_root(root))
    if not force and (found := _present(name, file, root, words)):
        return found
    require_hub(name)
    with (
        reporting(progress) as on_progress,
        staging_lock(file.root.path, name, on_progress),
    ):
        # Whoever held the lock before may have brought it.
        if not force and (found := _present(name, file, root, words)):
            return found
        _directory_for(name, file, file.read())  # refused now rather than after an hour
        repository = list_repository(name, hub)
        marker = Marker(
            model_id=name.key,
            revision=name.revision,
            commit=repository.commit,
            tags=words,
            files={remote.name: remote.size for remote in repository.files},
        )
        staging = staging_directory(file.root.path, name)
        if not force:
            _reuse(name, file, staging)
        prepare(staging, marker, afresh=force, unverifiable=repository.unverifiable)
        transfer(repository, staging, name.key, hub, on_progress)
        problem = why_incomplete(staging)
        if problem:
            raise ModelFormatError(
                f"The repository {name.key} was downloaded, and is no whole model: {problem}",
                hint="Use another revision, or tell the model's author.",
            )
        return _place(name, file, staging, marker)


def ensure_model_available(
    model_id: str,
    revision: str | None = None,
    root: Path | str | None = None,
    auto_download: bool = True,
) -> Path:
    """Where a model lies, downloaded first if need be; it counts as used now.

    :param model_id: an id; or the path of a model on disk, which is returned as it is.
    :raises ModelNotFoundError: it is not there, and ``auto_download`` is false.
    :raises ModelFormatError: a path leads to something that is no whole model.
    :raises ModelRegistryError: and the other errors of :func:`download_model`.
    """
    from .local_path import exists, expand

    local = expand(require_text(model_id))
    if revision is None and "\0" not in model_id and model_id.strip() and exists(local):
        problem = why_incomplete(local)
        if not problem:
            return local.absolute()
        if not is_model_id(model_id):
            raise ModelFormatError(
                f"There is no whole model at {local}: {problem}",
                hint="Pass a model directory, a .gguf file, or an id.",
            )
    key = model_id if revision is None else ModelName.parse(model_id, revision).key
    found = find_model(key, root)
    if found is not None and found.is_complete and _is_exactly(found, key):
        try:
            touch_model(found.model_id, root)
        except ModelRegistryError as error:
            _log.info("The use of %s was not noted: %s", key, error.message)  # read-only, say
        return found.path
    if not auto_download:
        get_model_path(key, root)  # says in the log what an incomplete one lacks
        raise ModelNotFoundError(
            f"The model {key!r} is not on this machine.",
            hint=f"Fetch it: sagellm models download {key}",
        )
    return download_model(key, root=root).path


def _hub_name(model_id: str, revision: str | None) -> ModelName:
    text = require_text(model_id)
    if text.startswith(("/", "./", "../", "~")):
        raise ModelRegistryError(
            f"{text[:80]!r} is a path, and a download needs an id of the hub.",
            hint="To register a model on disk, run: sagellm models add NAME PATH",
        )
    name = ModelName.parse(text, revision)
    if name.repo.count("/") > 1:
        raise ModelRegistryError(
            f"{name.repo!r} cannot be a repository of the hub.", hint="As in org/name."
        )
    return name


def _is_exactly(info: ModelInfo, key: str) -> bool:
    """Whether an entry is what a key asks for, rather than another revision of it."""
    wanted = ModelName.parse(key) if "@" in key else None
    return info.model_id == key or (
        wanted is not None and wanted.revision in (info.revision, info.commit)
    )


def _present(
    name: ModelName, file: RegistryFile, root: Path | str | None, tags: tuple[str, ...]
) -> ModelInfo | None:
    """The model, if it is on disk whole: its entry, used now and with the tags added."""
    info = find_model(name.key, root)
    if info is None or not _is_exactly(info, name.key) or not info.is_complete:
        return _registered_again(name, file, tags)
    key = name.key if info.is_foreign else info.model_id
    with file.change() as entries:
        entry = entries.get(key)
        if not isinstance(entry, dict):
            # Another program's: registered here too, where it lies. Or deleted just now.
            if why_incomplete(info.path):
                return None
            entry = write_entry(
                info.path, info.revision, info.size_bytes or size_of(info.path), 0.0, info.tags, ""
            )
            entries[key] = entry
        before = [tag for tag in entry.get("tags") or () if isinstance(tag, str)]
        entry["tags"] = list(dict.fromkeys([*before, *tags]))
        entry["last_used"] = time.time()
        return read_entry(file.root, key, entry)


def _registered_again(
    name: ModelName, file: RegistryFile, tags: tuple[str, ...]
) -> ModelInfo | None:
    """A whole model in its place without an entry.

    So it is when the process ended before the entry was written, or somebody put it there.
    """
    place = file.root.path / name.directory
    if place.is_symlink() or not place.is_dir() or why_incomplete(place):
        return None
    marker = read_marker(place) or Marker(model_id=name.key, revision=name.revision)
    if marker.model_id != name.key:
        return None
    with file.change() as entries:
        # Under the lock, as it may be deleted right now.
        if _is_taken(place, name, file, entries) or not place.exists():
            return None
        return _register(name, file, entries, place, replace(marker, tags=tags or marker.tags))


def _register(
    name: ModelName, file: RegistryFile, entries: dict[str, Any], place: Path, marker: Marker
) -> ModelInfo:
    entries[name.key] = write_entry(
        place, marker.revision, size_of(place), time.time(), marker.tags, marker.commit
    )
    info = read_entry(file.root, name.key, entries[name.key])
    assert info is not None
    return info


def _directory_for(name: ModelName, file: RegistryFile, entries: Mapping[str, Any]) -> Path:
    """Where a model goes: a directory that is free, or its own of before."""
    for directory in (name.directory, name.other_directory):
        place = file.root.path / directory
        if place.is_symlink():
            raise ModelRegistryError(
                f"{place} is a link to {place.readlink()}; nothing is downloaded through a link.",
                hint=f"Delete the link, or register what it leads to: sagellm models add {name.key}"
                f" {place}",
            )
        marker = read_marker(place)
        if marker is not None and marker.model_id != name.key:
            continue
        if place.exists() and not place.is_dir():
            continue  # somebody's file
        if not _is_taken(place, name, file, entries):
            return place
    raise ModelRegistryError(
        f"The directory {file.root.path / name.directory} belongs to another model.",
        hint="Move it away, or delete that model.",
    )


def _is_taken(place: Path, name: ModelName, file: RegistryFile, entries: Mapping[str, Any]) -> bool:
    """Whether another id is registered for a directory, or for something in it."""
    here = place.resolve()
    return any(
        info.model_id != name.key and info.path.resolve().is_relative_to(here)
        for info in read_entries(file.root, entries)
    )


def _reuse(name: ModelName, file: RegistryFile, staging: Path) -> None:
    """Take what an incomplete copy in the registry has as the beginning of this download."""
    place = _directory_for(name, file, file.read())
    if place.is_dir() and not staging.exists() and why_incomplete(place):
        try:
            staging.parent.mkdir(parents=True, exist_ok=True)
            place.rename(staging)
        except OSError as error:
            raise unwritable(place, error) from error


def _place(name: ModelName, file: RegistryFile, staging: Path, marker: Marker) -> ModelInfo:
    aside = None
    try:
        with file.change() as entries:
            place = _directory_for(name, file, entries)
            aside = move_aside(place, file.root.path)
            try:
                staging.rename(place)
            except OSError as error:
                if aside is not None:
                    aside.rename(place)
                    aside = None
                raise unwritable(place, error) from error
            return _register(name, file, entries, place, marker)
    finally:
        if aside is not None:
            delete_aside(aside)
