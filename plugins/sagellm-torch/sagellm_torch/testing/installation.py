"""Installing a plugin by its metadata alone: a directory that importlib takes for a distribution.

Imports no torch.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from sagellm_core.contract import ConfigurationError
from sagellm_core.contract.version import ENTRY_POINT_GROUP
from sagellm_torch import __version__


def install_plugin(
    directory: Path,
    *,
    name: str = "sim",
    module: str = "sagellm_torch.testing.sim",
    dist: str | None = None,
) -> Path:
    """Make a plugin known to sagellm wherever ``directory`` is on Python's path.

    Writes ``DIST-VERSION.dist-info`` with ``METADATA`` and ``entry_points.txt``. Without
    arguments it is the provider ``sim`` that this becomes; the module has to be importable.

    :param name: the backend name that users type. ``module``: where its hooks are.
    :param dist: name of the distribution; ``sagellm-NAME`` when left out.
    :returns: the directory that was written.
    :raises ConfigurationError: it is there already.
    """
    dist = dist or f"sagellm-{name}"
    info = directory / f"{dist.replace('-', '_')}-{__version__}.dist-info"
    if info.exists():
        raise ConfigurationError(
            f"{info} is there already.", hint="Remove it, or take another directory."
        )
    info.mkdir(parents=True)
    metadata = ["Metadata-Version: 2.1", f"Name: {dist}", f"Version: {__version__}"]
    metadata += [f"Requires-Dist: {line}" for line in _core_requirement()]
    (info / "METADATA").write_text("\n".join(metadata) + "\n", encoding="utf-8")
    entry = f"[{ENTRY_POINT_GROUP}]\n{name} = {module}\n"
    (info / "entry_points.txt").write_text(entry, encoding="utf-8")
    return info


def _core_requirement() -> list[str]:
    """What the kit itself says about core, for a plugin that comes with the kit."""
    try:
        lines = requires("sagellm-torch") or []
    except PackageNotFoundError:
        return []
    return [line for line in lines if line.partition(";")[0].strip().startswith("sagellm-core")]
