"""Plugins and the kit import nothing of core but the contract and the suite for their tests."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "sagellm_core"
ALLOWED = {"sagellm_core.contract", "sagellm_core.testing"}
#: SAGE's side of core, not a provider: it is built on what users import.
ABOVE_CORE = {"sagellm-sage"}
#: Distribution to its packages, tests left out.
PACKAGES = {
    dist.name: packages
    for dist in sorted((ROOT / "plugins").iterdir())
    if dist.name not in ABOVE_CORE
    and (packages := [init.parent for init in dist.glob("*/__init__.py")])
}


def imports_of_core(source: str) -> Iterator[tuple[int, str]]:
    """Line and what is imported: statements anywhere, and names given to ``import_module``."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(module="sagellm_core", level=0, names=aliases):
                names = [f"sagellm_core.{alias.name}" for alias in aliases]
            case ast.ImportFrom(module=str(module), level=0):
                names = [module]
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                names = [module]
            case _:
                continue
        for name in names:
            if name.split(".")[0] == "sagellm_core":
                yield node.lineno, name


def forbidden(source: str) -> list[str]:
    return [
        f"{line}: {name}"
        for line, name in imports_of_core(source)
        if ".".join(name.split(".")[:2]) not in ALLOWED
    ]


def contract_of_plugins() -> dict[str, list[str]]:
    """The import linter's contract, as ``pyproject.toml`` has it."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (found,) = (
        each
        for each in told["tool"]["importlinter"]["contracts"]
        if each["name"] == "Plugins import the contract only"
    )
    return found


@pytest.mark.parametrize("dist", PACKAGES)
def test_nothing_of_core_but_the_contract(dist: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{each}"
        for package in PACKAGES[dist]
        for path in sorted(package.rglob("*.py"))
        for each in forbidden(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_the_linter_forbids_every_other_part_of_core() -> None:
    parts = {
        f"sagellm_core.{path.stem}"
        for path in CORE.iterdir()
        if path.stem.isidentifier()
        and (path.suffix == ".py" or any(path.glob("*.py")))
        and path.stem != "__init__"
    }
    assert parts > ALLOWED
    assert set(contract_of_plugins()["forbidden_modules"]) == parts - ALLOWED


def test_the_linter_knows_every_plugin() -> None:
    packages = {package.name for found in PACKAGES.values() for package in found}
    assert set(contract_of_plugins()["source_modules"]) == packages


@pytest.mark.parametrize(
    "statement",
    [
        "import sagellm_core",
        "from sagellm_core import SamplingParams",
        "from sagellm_core.engine.client import EngineClient",
        "import json, sagellm_core.options as options",
        "if TYPE_CHECKING:\n    from sagellm_core.contracts import Runner",
        "def late():\n    from sagellm_core import contract, providers",
        "importlib.import_module('sagellm_core.migrate')",
    ],
)
def test_imports_of_all_kinds_are_found(statement: str) -> None:
    assert len(forbidden(statement)) == 1


def test_the_contract_is_allowed() -> None:
    assert not forbidden(
        "from sagellm_core.contract import Runner\n"
        "import sagellm_core.contract.errors\n"
        "from sagellm_core import contract\n"
        "from sagellm_core.testing.suite import *\n"
        "from . import engine\n"
        "from sagellm_cores import engine\n"
    )
