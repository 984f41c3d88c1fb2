"""What a declaration may say, and what becomes of one that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ConfigurationError
from sagellm_core.testing import Declaration

GOOD: dict[str, Any] = {"plugin": "mine", "capabilities": {"generate"}}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"plugin": ""}, "Declaration.plugin is '', not the name"),
        ({"plugin": None}, "Declaration.plugin is None"),
        ({"capabilities": "generate"}, "Declaration.capabilities is 'generate', not a collection"),
        ({"capabilities": [1]}, "Declaration.capabilities is [1], not a collection of strings"),
        ({"capabilities": {"beams"}}, "'beams', which core does not know and no test proves"),
        ({"model_types": ("gpt5",)}, "'gpt5', which the suite cannot compute"),
        ({"visibility": "MY_DEVICES"}, "Declaration.visibility is 'MY_DEVICES', not a collection"),
        ({"xfails": 3}, "Declaration.xfails is 3, not the name of a file"),
        ({"device_required": "no"}, "Declaration.device_required is 'no', not True or False"),
        ({"time_limit": 0}, "Declaration.time_limit is 0, not a number of seconds above 0"),
        ({"provider_options": ["threads"]}, "Declaration.provider_options is ['threads'], not a"),
        ({"trees": {"two": "path"}}, "Declaration.trees is {'two': 'path'}, not a mapping of name"),
        (
            {"proofs": {"lora": ["test_lora"]}},
            "proofs names 'lora', which is not among the declared",
        ),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Declaration(**{**GOOD, **wrong})
    assert sentence in caught.value.message
    assert caught.value.hint


def test_a_capability_of_the_plugins_own_needs_tests_of_its_own() -> None:
    declared = Declaration(
        plugin="mine", capabilities={"generate", "beams"}, proofs={"beams": ["test_beams"]}
    )
    assert declared.capabilities == {"generate", "beams"}
    assert Declaration.from_dict(declared.to_dict()) == declared


def test_provider_options_are_told_as_plain_data() -> None:
    options = {"threads": 2, "kernel": Path("x"), "limit": float("inf"), "sizes": (1, 2)}
    told = Declaration(**GOOD, provider_options=options).to_dict()["provider_options"]
    assert told == {"threads": 2, "kernel": repr(Path("x")), "limit": "inf", "sizes": [1, 2]}


def test_a_declaration_needs_neither_pytest_nor_numpy() -> None:
    code = (
        "import sys; sys.modules['pytest'] = sys.modules['numpy'] = None\n"
        "from sagellm_core.testing import Declaration\n"
        "Declaration(plugin='mine', capabilities={'generate'})\n"
        "from sagellm_core.testing.running import run_suite\n"
        "from sagellm_core.testing.page import page\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SUITE = "from sagellm_core.testing import Declaration\nfrom sagellm_core.testing.suite import *\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "test_it.py: DECLARATION is missing. Hint: Write DECLARATION = Declaration(plugin="),
        ("DECLARATION = {'plugin': 'mock'}\n", "test_it.py: DECLARATION is a dict."),
        (
            "DECLARATION = Declaration(plugin='mokc', capabilities={'generate'})\n",
            "No provider named 'mokc' is installed; installed:",
        ),
        (
            "DECLARATION = Declaration(plugin='mock', capabilities=[], xfails='no.txt')\n",
            "no.txt cannot be read",
        ),
    ],
)
def test_a_file_without_a_sound_declaration_is_one_error(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text(SUITE + text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "test_it.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert sentence in done.stdout
    assert "1 error in" in done.stdout
