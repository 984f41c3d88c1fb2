"""Distributions that own the same import names and script as ours."""

from __future__ import annotations


def intruders() -> list[str]:
    """Names of the isagellm distributions that are installed beside us, sorted."""
    from importlib.metadata import distributions

    return sorted(
        {
            name
            for dist in distributions()
            if (name := (dist.name or "").lower().replace("_", "-")).startswith("isagellm")
        }
    )


def eviction(names: list[str]) -> str:
    """The command that removes them and mends what they overwrote."""
    return (
        f"pip uninstall -y {' '.join(names)} && "
        "pip install --force-reinstall --no-deps sagellm-core"
    )
