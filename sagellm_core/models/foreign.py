"""Files that are something else than their name says, told by their first bytes."""

from __future__ import annotations

_MAGIC = {
    b"ggml": "an old GGML file",
    b"ggjt": "an old GGJT file",
    b"lmgg": "an old GGML file",
    b"tjgg": "an old GGJT file",
    b"GGUF": "a GGUF file",
    b"PK\x03\x04": "a zip archive, perhaps a PyTorch checkpoint",
    b"\x80\x02": "a Python pickle",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"version ": "a Git LFS pointer, not the file it stands for",
    b"<": "an HTML or XML page, perhaps of a failed download",
    b"{": "a JSON file",
    b"\x89HDF": "an HDF5 file",
}
_LFS = b"version "


def foreign_kind(first: bytes) -> str:
    """What a file that begins with these bytes seems to be; empty when that cannot be told.

    :param first: at least its first 8 bytes, where it has as many.
    """
    return next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), "")


def foreign_hint(first: bytes, otherwise: str) -> str:
    """What to do about it."""
    if first.startswith(_LFS):
        return "Fetch the files themselves: git lfs pull"
    return otherwise
