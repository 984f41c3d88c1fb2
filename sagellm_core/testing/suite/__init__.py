"""The tests that a vendor imports with a star into the file of the declaration.

Fixtures and hooks come with them, through ``pytest_plugins``. Each class belongs to one of the
groups of :data:`sagellm_core.testing.groups.GROUPS`.
"""

from __future__ import annotations

__all__ = ["pytest_plugins"]

#: pytest loads what it finds under this name in a test module.
pytest_plugins: tuple[str, ...] = ()
