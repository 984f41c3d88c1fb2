"""The same weights in the forms that the peers read, converted once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .catalogue import LLAMA_CPP, ONNX_BUILDER, TRANSFORMERS
from .environment import Environment, environment_python, run
from .process import PeerError


@dataclass(frozen=True, slots=True)
class Form:
    """How a model is rewritten."""

    #: Its file, or its directory.
    target: str
    #: Module of this package that writes it; called with the source, the target, :attr:`kind`.
    module: str
    #: What that module needs.
    environment: Environment
    kind: str = ""
    #: The form that it is made from; ``None``: the model's own file.
    source: str | None = None


FORMS = {
    "safetensors": Form("safetensors", "to_safetensors", TRANSFORMERS),
    "onnx-fp32": Form("onnx-fp32", "to_onnx", ONNX_BUILDER, "fp32", "safetensors"),
    "onnx-int4": Form("onnx-int4", "to_onnx", ONNX_BUILDER, "int4", "safetensors"),
} | {kind: Form(f"{kind}.gguf", "requantise", LLAMA_CPP, kind) for kind in ("F16", "Q8_0", "Q4_0")}


def converted(
    base: Path,
    model: Path,
    name: str,
    python_of: Callable[[Path, Environment], Path] = environment_python,
) -> Path:
    """``model`` in the form of that name.

    :raises PeerError: it cannot be written from this model, or the conversion failed.
    """
    form = FORMS[name]
    if model.suffix != ".gguf":
        if name == "safetensors":
            return model
        if form.source is None:
            raise PeerError(f"{model.name} is no GGUF, and only a GGUF is rewritten as {name}")
    seen = model.stat()
    key = f"{model.resolve()}:{seen.st_size}:{seen.st_mtime_ns}"
    folder = base / "weights" / hashlib.sha256(key.encode()).hexdigest()[:16]
    target = folder / form.target
    if target.exists():
        return target
    source = converted(base, model, form.source, python_of) if form.source else model
    python = python_of(base, form.environment)
    folder.mkdir(parents=True, exist_ok=True)
    # Under another name until it is whole: an interrupted conversion is not mistaken for one.
    part = folder / f"{os.getpid()}.{form.target}"
    command = [str(python), "-m", f"benchmarks.peers.{form.module}", str(source), str(part)]
    try:
        run([*command, form.kind] if form.kind else command)
        part.replace(target)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
    return target
