"""Whether triton is there, found out when it is first asked for."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec


@cache
def triton_problem() -> str:
    """Why the kernels cannot be compiled, as the end of a sentence; empty: they can."""
    if find_spec("triton") is None:
        return "triton is not installed"
    try:
        from . import attention, rows  # noqa: F401
    except Exception as error:
        # A triton that is too old, or whose libraries do not load.
        return f"triton cannot be used: {type(error).__name__}: {error}"
    return ""
