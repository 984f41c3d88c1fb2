"""Vectors kept in a file, for as long as they fit the documents."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagellm_core.contract import ConfigurationError
from sagellm_core.embedding.arrays import numpy

from .dense_index import DenseIndex
from .documents import Chunk, document_files, read_chunks

if TYPE_CHECKING:
    from sagellm_core.embedding import EmbeddingEngine

log = logging.getLogger("sagellm.pipeline")

#: Changes when files of an older layout can no longer be read.
_LAYOUT = 1


def open_index(settings: Mapping[str, Any], embedder: EmbeddingEngine) -> DenseIndex:
    """The index of the documents: from the file ``index`` if it fits, else built and kept there.

    It fits if it was built with these settings from documents of these names, sizes and times of
    change. The file is a NumPy archive without pickles.

    :param settings: ``documents``, ``chunk_size``, ``chunk_overlap``, ``normalize``,
        ``embedding`` and ``index``; ``None`` as ``index`` keeps nothing.
    :raises ConfigurationError: no documents, or the index cannot be written.
    :raises SageLLMError: as :meth:`EmbeddingEngine.embed`.
    """
    path = None if settings["index"] is None else Path(settings["index"]).expanduser()
    normalize = settings["normalize"]
    stamp = "" if path is None else _stamp(settings)
    if path is not None:
        kept = _read(path, stamp)
        if kept is not None:
            chunks, vectors = kept
            log.info("%d chunks from %s", len(chunks), path)
            return DenseIndex(chunks, vectors, embedder, normalize=normalize)
    chunks = read_chunks(settings["documents"], settings["chunk_size"], settings["chunk_overlap"])
    index = DenseIndex.build(chunks, embedder, normalize=normalize)
    if path is not None:
        _write(path, stamp, index)
        log.info("%d chunks embedded and kept in %s", len(chunks), path)
    return index


def _stamp(settings: Mapping[str, Any]) -> str:
    """What the vectors depend on, in short."""
    files = []
    for file in document_files(settings["documents"]):
        found = file.stat()
        files.append([str(file), found.st_size, found.st_mtime_ns])
    embedding = {
        name: value
        for name, value in settings["embedding"].items()
        if name not in ("batch_size", "max_batch_tokens")  # they change no vector
    }
    said = [
        _LAYOUT,
        settings["chunk_size"],
        settings["chunk_overlap"],
        settings["normalize"],
        embedding,
        files,
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _read(path: Path, stamp: str) -> tuple[list[Chunk], Any] | None:
    """Chunks and vectors, or ``None`` where they have to be computed."""
    import zipfile

    np = numpy()
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            said = json.loads(archive["about"].tobytes())
            if said["stamp"] != stamp:
                return None
            vectors = archive["vectors"]
            chunks = [Chunk(text, source) for text, source in said["chunks"]]
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        log.warning("%s is no index of this pipeline (%s); it is built anew.", path, error)
        return None
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != len(chunks):
        log.warning("%s is no index of this pipeline; it is built anew.", path)
        return None
    return chunks, vectors


def _write(path: Path, stamp: str, index: DenseIndex) -> None:
    np = numpy()
    said = {"stamp": stamp, "chunks": [[chunk.text, chunk.source] for chunk in index.chunks]}
    about = np.frombuffer(json.dumps(said, ensure_ascii=True).encode(), dtype=np.uint8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another run may read or write it at the same time: a whole file takes its place.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, about=about, vectors=index.vectors)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(
            f"The index {path} cannot be written: {error.strerror}.",
            hint="Set 'index' to a place that can, or to None (null in YAML) to keep nothing.",
        ) from error
