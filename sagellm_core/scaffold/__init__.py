"""Writes a vendor's repository: a provider that works, and the suite that proves it.

``name`` checks what a plugin may be called, ``repository`` says which files there are and fills
the templates in, ``writing`` puts them on disk all at once.
"""

from __future__ import annotations

from .name import PluginName, check_free, check_name
from .repository import KITS, Repository
from .writing import write_repository

__all__ = [
    "KITS",
    "PluginName",
    "Repository",
    "check_free",
    "check_name",
    "write_repository",
]
