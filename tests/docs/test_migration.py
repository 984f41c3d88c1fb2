"""Every block of docs/migration.md, as its reader would use it."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

PAGE = "migration.md"
ROOT = Path(__file__).parents[2]
#: Where the migrator would meet a block of each language.
_FILES = {
    "python": "pipeline.py",
    "yaml": "config.yaml",
    "sh": "run.sh",
    "requirements": "requirements.txt",
}


def dists_here() -> set[str]:
    places = [ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]
    return {tomllib.loads(place.read_text())["project"]["name"] for place in places}


def config_of(page: Any) -> str:
    """The configuration that the page ends up with."""
    return next(after.text for before, after in page.pairs() if before.language == "yaml")


def test_python_blocks_run(place: Any, page: Any, python_block: Any) -> None:
    (place.path / "config.yaml").write_text(config_of(page))
    # A device that is named in a block is the reader's; here it is the one under test.
    named = re.compile(r"(backend_type=)\"(?!auto|mock)\w+\"")
    code = named.sub(rf'\1"{place.backend}"', python_block.text)
    done = place.python(code)
    assert done.returncode == 0, done.stderr


def test_old_forms_become_what_the_page_says(mock_place: Any, pair: tuple[Any, Any]) -> None:
    before, after = pair
    file = mock_place.path / _FILES[before.language]
    file.write_text(before.text)
    options = _models_of(before, after)
    shown = mock_place.run("sagellm", "migrate", file.name, *options)
    assert shown.returncode == 0, shown.stderr
    assert file.read_text() == before.text
    assert mock_place.run("sagellm", "migrate", file.name, *options, "--check").returncode == 1
    done = mock_place.run("sagellm", "migrate", file.name, *options, "--write")
    assert done.returncode == 0, done.stderr
    assert file.read_text() == after.text
    assert mock_place.run("sagellm", "migrate", file.name, *options, "--check").returncode == 0


def _models_of(before: Any, after: Any) -> tuple[str, ...]:
    """What the reader must say where the old form only named a service."""
    if "service_name" not in before.text:
        return ()
    found = re.search(r'model_path="([^"]+)"', after.text)
    assert found
    return ("--embedding-model" if "VLLMEmbedding" in before.text else "--model", found[1])


def test_commands_run(place: Any, page: Any, shell_block: Any) -> None:
    (place.path / "config.yaml").write_text(config_of(page))
    for command in shell_block.commands():
        if command.startswith("pip "):
            check_pip(command)
            continue
        done = place.type(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def check_pip(command: str) -> None:
    """What is installed are distributions of this repository, with extras that they have."""
    words = shlex.split(command)
    assert words[:2] == ["pip", "install"]
    for word in words[2:]:
        name, _, extra = word.rstrip("]").partition("[")
        assert name in dists_here(), command
        if extra:
            place = ROOT if name == "sagellm-core" else ROOT / "plugins" / name
            project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
            assert extra in project["optional-dependencies"], command


def test_new_commands_of_pairs_run_and_old_ones_say_them(mock_place: Any, page: Any) -> None:
    pairs = [pair for pair in page.pairs() if pair[0].language == "sh"]
    assert pairs
    for before, after in pairs:
        for old, new in zip(before.commands(), after.commands(), strict=True):
            if old.startswith("pip "):
                check_pip(new)
                continue
            refused = mock_place.type(old)
            assert refused.returncode == 2, f"{old}\n{refused.stdout}\n{refused.stderr}"
            error, hint = refused.stderr.strip().splitlines()
            assert (error.split()[0], hint.split()[0]) == ("error:", "hint:")
            # The words that make the difference are what it says to type.
            difference = [word for word in new.split() if word not in old.split()]
            assert all(word in hint for word in difference), hint
            done = mock_place.type(f"{new} --yes" if " auto " in new else new)
            assert done.returncode == 0, f"{new}\n{done.stdout}\n{done.stderr}"


def test_the_flag_of_pipeline_create_says_what_to_type(mock_place: Any) -> None:
    done = mock_place.type("sage pipeline create --vllm")
    assert done.returncode == 2
    assert "sage pipeline create-embedding --engine sagellm" in done.stderr


def test_yaml_blocks_are_valid_and_load(place: Any, yaml_block: Any) -> None:
    file = place.path / "config.yaml"
    file.write_text(yaml_block.text)
    done = place.run("sagellm", "config", "validate", "config.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    # A device that is named in a block is the reader's; here it is the one under test.
    file.write_text(re.sub(r"(backend_type: )(?!auto)\w+", rf"\1{place.backend}", yaml_block.text))
    words = ("run", "--config", "config.yaml", "-p", "Hello", "--max-tokens", "4", "--json")
    done = place.run("sagellm", *words)
    assert done.returncode == 0, done.stderr
    assert f'"name": "{place.backend}"' in done.stdout


def test_the_new_names_of_the_table_exist_and_the_old_ones_say_them(
    mock_place: Any, page: Any
) -> None:
    rows = [
        line.split("|")[1:3]
        for line in page.path.read_text().splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) == 10
    for name, new in (
        ("VLLMGenerator", 'SageLLMGenerator(backend_type="auto", model_path="'),
        ("VLLMEmbedding", "SageLLMEmbedding("),
    ):
        assert any(name in old for old, _ in rows)
        done = mock_place.python(f"from sage.middleware.operators.llm import {name}")
        assert "ImportError" in done.stderr
        assert new in done.stderr


def test_every_row_of_the_table_links_to_a_step_that_is_there(page: Any) -> None:
    text = page.path.read_text()
    titles = re.findall(r"^## (.+)$", text, re.M)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in anchors
    for file in re.findall(r"\]\(([\w.]+\.md)[^)]*\)", text):
        assert (page.path.parent / file).is_file(), file
