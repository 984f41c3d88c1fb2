from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sagellm_core import __version__
from sagellm_core.contract import ConfigurationError, DeviceClass
from sagellm_core.scaffold import KITS, Repository, check_name, write_repository
from sagellm_core.scaffold.repository import KIT_RANGE

ROOT = Path(__file__).parents[2]


def repository(kit: str = "torch", name: str = "my-npu", **changes: Any) -> Repository:
    settings: dict[str, Any] = {"vendor": "Example Inc.", **changes}
    return Repository(name=check_name(name), kit=kit, **settings)


def texts(kit: str = "torch", **changes: Any) -> dict[str, str]:
    return {str(path): text for path, text in repository(kit, **changes).texts().items()}


@pytest.mark.parametrize("kit", KITS)
def test_the_files_that_a_vendor_needs_are_there(kit: str) -> None:
    assert {
        ".github/workflows/test.yml",
        ".gitignore",
        "CHANGELOG.md",
        "README.md",
        "pyproject.toml",
        "sagellm_my_npu/__init__.py",
        "sagellm_my_npu/devices.py",
        "sagellm_my_npu/plugin.py",
        "sagellm_my_npu/py.typed",
        "tests/conformance-xfails.txt",
        "tests/test_conformance.py",
        "tests/test_devices.py",
        "tox.ini",
    } <= set(texts(kit))


@pytest.mark.parametrize("kit", KITS)
def test_every_file_parses_and_no_placeholder_is_left(kit: str) -> None:
    for path, text in texts(kit).items():
        assert not re.search(r"@[A-Z_]+@", text), path
        assert text == "" or text.endswith("\n"), path
        assert all(line == line.rstrip() for line in text.splitlines()), path
        match PurePosixPath(path).suffix:
            case ".py":
                ast.parse(text)
            case ".toml":
                tomllib.loads(text)
            case ".yml":
                assert yaml.safe_load(text)["jobs"]
            case ".ini":
                ConfigParser().read_string(text)


@pytest.mark.parametrize("kit", KITS)
def test_the_range_of_cores_begins_with_this_one_and_tox_has_both_ends(kit: str) -> None:
    made = texts(kit)
    project = tomllib.loads(made["pyproject.toml"])["project"]
    needs = {need.name: need for need in map(Requirement, project["dependencies"])}
    admitted = needs["sagellm-core"].specifier
    assert __version__ in admitted
    tox = ConfigParser()
    tox.read_string(made["tox.ini"])
    lines = tox["testenv:core-{oldest,newest}"]["deps"].split()
    tested = {
        which.rstrip(":"): Requirement(need)
        for which, need in zip(lines[::2], lines[1::2], strict=True)
    }
    assert tested["oldest"].specifier == SpecifierSet(f"=={__version__}")
    assert tested["newest"].specifier == admitted
    assert tested["oldest"].extras == tested["newest"].extras == {"testing"}
    assert ("sagellm-torch" in needs) == (kit == "torch")


@pytest.mark.parametrize(
    ("version", "admitted", "refused"),
    [
        ("0.1.0", ["0.1.0", "0.1.9"], ["0.0.9", "0.2.0"]),
        ("0.10.3", ["0.10.3", "0.10.4"], ["0.10.2", "0.11.0"]),
        ("1.4.2", ["1.4.2", "1.9.0"], ["1.4.1", "2.0.0"]),
        ("1.0rc1", ["1.0rc1", "1.0"], ["2.0"]),
    ],
)
def test_the_range_ends_where_core_may_break(
    version: str, admitted: list[str], refused: list[str]
) -> None:
    range_ = SpecifierSet(repository(core_version=version).core_range, prereleases=True)
    assert all(each in range_ for each in admitted)
    assert not any(each in range_ for each in refused)


def test_the_kit_that_is_asked_for_is_the_one_of_this_repository() -> None:
    namespace: dict[str, str] = {}
    source = (ROOT / "plugins/sagellm-torch/sagellm_torch/__init__.py").read_text()
    exec(re.search(r"^__version__.*$", source, re.MULTILINE)[0], namespace)  # type: ignore[index]
    assert namespace["__version__"] in SpecifierSet(KIT_RANGE)


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("device_class", list(DeviceClass))
def test_auto_picks_no_unfinished_plugin(kit: str, device_class: DeviceClass) -> None:
    plugin = texts(kit, device_class=device_class)["sagellm_my_npu/plugin.py"]
    assert "\n_DEVICE_CLASS = DeviceClass.SIMULATED\n" in plugin
    to_do = f"REPLACE: DeviceClass.{device_class.name}," in plugin
    assert to_do == (device_class is not DeviceClass.SIMULATED)


@pytest.mark.parametrize("kit", KITS)
def test_the_readme_tells_of_the_licence_and_invents_none(kit: str) -> None:
    made = texts(kit)
    assert "## Licence\nNone was chosen." in made["README.md"]
    assert "license" not in tomllib.loads(made["pyproject.toml"])["project"]
    assert not any("LICENSE" in path for path in made)


@given(st.text(min_size=1, max_size=60).filter(lambda text: text.strip() and text.isprintable()))
def test_any_vendor_comes_out_as_it_went_in(vendor: str) -> None:
    plugin = ast.parse(texts("none", vendor=vendor)["sagellm_my_npu/plugin.py"])
    (found,) = [
        keyword.value.value
        for node in ast.walk(plugin)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "vendor" and isinstance(keyword.value, ast.Constant)
    ]
    assert found == vendor


@pytest.mark.parametrize("vendor", ["", "  ", "two\nlines", "a\x1b[31mcolour", "v" * 61])
def test_a_vendor_that_is_no_line_of_text_is_refused(vendor: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        repository(vendor=vendor)
    assert caught.value.hint


@pytest.mark.parametrize("kit", KITS)
def test_the_code_is_as_linters_want_it(kit: str, tmp_path: Path) -> None:
    ruff = shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed here; nox -s wheels has it")
    write_repository(repository(kit).texts(), tmp_path)
    for arguments in (["check", "."], ["format", "--check", "."]):
        done = subprocess.run(
            [ruff, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
