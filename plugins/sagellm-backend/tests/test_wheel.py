"""What pip gets: dependencies, and no module that could clash with another project's."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.wheel

SOURCE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_it_holds_metadata_and_licence_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert all(name.startswith("sagellm_backend-0.1.0.dist-info/") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_requires_core_and_the_cpu_provider_as_its_siblings_do(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (place,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    metadata = Parser().parsestr(archive.read(place).decode())
    assert metadata["Name"] == "sagellm-backend"
    assert metadata["Requires-Python"] == ">=3.11"
    required = {r.name: r for r in map(Requirement, metadata.get_all("Requires-Dist") or [])}
    assert set(required) == {"sagellm-core", "sagellm-cpu"}
    for requirement in required.values():
        assert requirement.specifier.contains("0.1.0")
        assert not requirement.specifier.contains("0.2.0")


def test_it_installs_and_gives_no_import_name(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(tmp_path), str(wheel)], check=True, timeout=120)
    assert [entry.name for entry in tmp_path.iterdir()] == ["sagellm_backend-0.1.0.dist-info"]
