"""A Hugging Face directory as a checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from sagellm_core.contract import ModelFormatError, UnsupportedModelError
from sagellm_torch.quantization import QuantizedWeight

from .safetensors_header import check_length
from .weight_files import read_json, weight_files
from .wrappers import canonical_names, text_config

_FLOATS = ("F64", "F32", "F16", "BF16")


class SafetensorsCheckpoint:
    """``config.json`` and one or more safetensors files, mapped and not read.

    :raises ModelFormatError: a file is missing, cut short or damaged.
    :raises UnsafeModelError: the only weights are pickles.
    :raises UnsupportedModelError: the weights are quantised.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        raw = read_json(directory / "config.json")
        self.config: Mapping[str, Any] = text_config(raw)
        _refuse_quantised(directory, self.config)
        generation = directory / "generation_config.json"
        self.generation_config: Mapping[str, Any] = (
            read_json(generation)
            if generation.is_file()
            else {
                key: self.config[key]
                for key in ("eos_token_id", "bos_token_id")
                if self.config.get(key) is not None
            }
        )
        files = weight_files(directory)
        self._home: dict[str, Any] = {}
        stored: dict[str, Path] = {}
        for path, expected in files.items():
            opened = _open(path)
            present = set(opened.keys())
            _check_complete(path, expected, present)
            for name in sorted(expected or present):
                self._home[name] = opened
                stored[name] = path
        self._names = canonical_names(stored, wrapped="text_config" in raw)

    def names(self) -> Collection[str]:
        """Canonical names of the tensors."""
        return self._names.keys()

    def tensor(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """One tensor. Of the type asked for already, it stays mapped from the file."""
        stored = self._names.get(name)
        if stored is None or stored not in self._home:
            closed = "; it was closed" if self._names and not self._home else ""
            raise ModelFormatError(
                f"{self._directory} has no tensor {name}{closed}.",
                hint="The files do not belong to this config.json, or are incomplete.",
            )
        opened = self._home[stored]
        try:
            kind = opened.get_slice(stored).get_dtype()
            if kind not in _FLOATS:
                raise UnsupportedModelError(
                    f"{self._directory}: {stored} is stored as {kind}.",
                    hint=f"Supported are {', '.join(_FLOATS)}; use an unquantised model.",
                )
            tensor: torch.Tensor = opened.get_tensor(stored)
        except (SafetensorError, OSError, RuntimeError) as error:
            raise ModelFormatError(
                f"{self._directory}: {stored} could not be read: {error}.",
                hint="The file is damaged; fetch the model again.",
            ) from error
        return tensor.to(dtype)

    def codes(self, name: str) -> QuantizedWeight | None:
        """Nothing is stored as codes."""
        return None

    def stored_type(self, name: str) -> str:
        """The name of a tensor's type in the files, as ``BF16``."""
        stored = self._names[name]
        kind: str = self._home[stored].get_slice(stored).get_dtype()
        return kind

    def close(self) -> None:
        """Let go of the files. A tensor that was handed out keeps its own mapping."""
        self._home.clear()


def _open(path: Path) -> Any:
    check_length(path)
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ModelFormatError(
            f"{path} is not a valid safetensors file: {error}.",
            hint="The file is damaged; fetch the model again.",
        ) from error


def _check_complete(path: Path, expected: Collection[str], present: Collection[str]) -> None:
    missing = sorted(name for name in expected if name not in present)
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ModelFormatError(
            f"{path} lacks {len(missing)} of the {len(expected)} tensors that the index says it "
            f"has: {shown}.",
            hint="The index and the files are of different downloads; fetch the model again.",
        )


def _refuse_quantised(directory: Path, config: Mapping[str, Any]) -> None:
    quantised = config.get("quantization_config")
    if isinstance(quantised, Mapping):
        method = quantised.get("quant_method", "an unnamed method")
        raise UnsupportedModelError(
            f"{directory} is quantised with {method}, which is not supported.",
            hint="Use the unquantised model, or a GGUF file of it.",
        )
