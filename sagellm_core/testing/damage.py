"""Ways in which the files of a model are damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .tiny.files import WEIGHTS

#: One in every decoder, one in every encoder.
_TENSORS = ("0.mlp.down_proj.weight", "0.output.dense.weight")


def _gone(place: Path) -> None:
    shutil.rmtree(place)


def _truncated(place: Path) -> None:
    path = place / WEIGHTS
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _garbage(place: Path) -> None:
    (place / WEIGHTS).write_bytes(b"\xff" * 4096)


def _tensor_missing(place: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        name = next(name for name in header if name.endswith(_TENSORS))
        header[f"{name}.renamed"] = header.pop(name)

    _rewrite(place / WEIGHTS, change)


def _tensor_of_another_shape(place: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        for name, entry in header.items():
            if name.endswith(_TENSORS):
                rows, columns = entry["shape"]
                entry["shape"] = [rows // 2, columns * 2]

    _rewrite(place / WEIGHTS, change)


def _rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the header of a safetensors file, and leave the data as it is."""
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header: dict[str, Any] = json.loads(raw[8:end])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[end:])


#: By name: each damages the model in the directory that it is given.
DAMAGES: Final[dict[str, Callable[[Path], None]]] = {
    "gone": _gone,
    "truncated": _truncated,
    "garbage": _garbage,
    "tensor_missing": _tensor_missing,
    "tensor_of_another_shape": _tensor_of_another_shape,
}
