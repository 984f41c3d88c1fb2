"""The same weights in the forms that the peers read, converted once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from .environment import run
from .process import PeerError


def converted(base: Path, source: Path, kind: str, python: Path) -> Path:
    """``source`` as ``kind``: ``F16``, ``Q8_0`` or ``Q4_0`` (a GGUF), or ``safetensors``.

    :param python: has llama-cpp-python, or for ``safetensors`` transformers.
    :raises PeerError: ``source`` is no GGUF, or the conversion failed.
    """
    if source.suffix != ".gguf":
        if kind == "safetensors":
            return source
        raise PeerError(f"{source.name} is no GGUF, and only a GGUF is rewritten as {kind}")
    seen = source.stat()
    key = f"{source.resolve()}:{seen.st_size}:{seen.st_mtime_ns}"
    folder = base / "weights" / hashlib.sha256(key.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    directory = kind == "safetensors"
    target = folder / (kind if directory else f"{kind}.gguf")
    if target.exists():
        return target
    # Under another name until it is whole: an interrupted conversion is not mistaken for one.
    part = folder / f"{os.getpid()}.{target.name}"
    module = "to_safetensors" if directory else "requantise"
    try:
        run(
            [str(python), "-m", f"benchmarks.peers.{module}", str(source), str(part)]
            + ([] if directory else [kind])
        )
        part.replace(target)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
    return target
