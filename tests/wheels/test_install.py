"""What a user gets from pip: wheels and sdists that install on their own, and their size."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.wheel

#: What a wheel puts into site-packages beside its metadata, where that is not one package of
#: the distribution's name.
PACKAGES = {
    "sagellm-sage": {"sagellm_sage", "sage"},
    "sagellm-backend": set(),
}


def test_each_wheel_holds_its_package_and_licence_and_nothing_else(
    wheelhouse: Any, dist: str
) -> None:
    packages = PACKAGES.get(dist, {dist.replace("-", "_")})
    names = zipfile.ZipFile(wheelhouse[dist][0]).namelist()
    tops = {entry.split("/")[0] for entry in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == packages
    assert any(entry.endswith("licenses/LICENSE") for entry in names)
    for package in packages - {"sage"}:  # a namespace that others share
        assert f"{package}/py.typed" in names
    tests = [entry for entry in names if Path(entry).match("test_*.py")]
    assert not tests + [entry for entry in names if Path(entry).name == "conftest.py"]


def test_each_sdist_holds_its_tests_changelog_and_licence(wheelhouse: Any, dist: str) -> None:
    with tarfile.open(wheelhouse[dist][1]) as archive:
        names = {entry.split("/", 1)[1] for entry in archive.getnames() if "/" in entry}
    assert {"LICENSE", "CHANGELOG.md", "README.md", "pyproject.toml"} <= names
    assert any(entry.startswith("tests/") for entry in names)


def test_the_core_wheel_is_small(wheelhouse: Any) -> None:
    assert wheelhouse["sagellm-core"][0].stat().st_size < 600_000


def test_core_brings_few_distributions_and_little_weight(environment: Any) -> None:
    environment.install("sagellm-core")
    assert len(environment.dists()) <= 15, environment.dists()
    new = environment.files() - environment.before
    size = sum((environment.place / name).stat().st_size for name in new)
    assert size <= 20_000_000
