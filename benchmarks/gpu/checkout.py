"""The packages of a checkout, found by Python without being installed.

A machine with a GPU may have no package index and no build tools. What the packages need from
others has to be there; they themselves are put on the path, each with the metadata by which
providers are found.
"""

from __future__ import annotations

import os
import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_DISTS = (
    ".",
    "plugins/sagellm-torch",
    "plugins/sagellm-cuda",
    "plugins/sagellm-dcu",
    "plugins/sagellm-cpu",
    "plugins/sagellm-mock",
)


def installed() -> bool:
    """Whether the packages are installed; then those are measured."""
    try:
        version("sagellm-core")
    except PackageNotFoundError:
        return False
    return True


def environment(folder: Path) -> dict[str, str]:
    """The environment of a Python that finds them.

    :param folder: where their metadata is written.
    """
    paths = [str(folder)]
    for dist in _DISTS:
        source = _ROOT / dist
        if (source / "pyproject.toml").exists():
            _describe(source, folder)
            paths.append(str(source.resolve()))
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *([before] if before else [])])}


def _describe(source: Path, folder: Path) -> None:
    """Write a package's metadata as an installer would."""
    told = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    project: dict[str, Any] = told["project"]
    module = source / told["tool"]["hatch"]["version"]["path"]
    found = re.search(r'^__version__ = "(.+)"', module.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{module} does not say its version")
    name, number = project["name"], found[1]
    info = folder / f"{name.replace('-', '_')}-{number}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {number}"]
    lines += [f"Requires-Dist: {needed}" for needed in project.get("dependencies", ())]
    (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    groups = {**project.get("entry-points", {}), "console_scripts": project.get("scripts", {})}
    sections = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(sections), encoding="utf-8")
