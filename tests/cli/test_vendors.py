"""The vendors' own plugins beside each other, on a machine that has none of their devices."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

Sagellm = Callable[..., Any]

#: What each says where there is nothing of its own: the files that it looked for.
NOWHERE = {
    "ascend": "/dev/davinci",
    "cuda": "/dev/nvidiactl",
    "dcu": "/sys/class/kfd",
}
_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/davinci_manager")


@pytest.fixture(autouse=True)
def _all_of_them_on_a_cpu() -> None:
    for name in (*NOWHERE, "cpu", "mock"):
        if find_spec(f"sagellm_{name}") is None:
            pytest.skip(f"sagellm-{name} is not installed")
    for device in _DEVICES:
        if Path(device).exists():
            pytest.skip(f"this machine has {device}")


def test_why_names_the_reason_for_each_in_one_line(sagellm: Sagellm) -> None:
    done = sagellm("plugins", "why")
    assert done.returncode == 0, done.stderr
    table = done.stdout.partition("\n\n")[0].splitlines()[1:]
    lines = {line[1:].split()[1]: line for line in table}
    assert len(lines) == len(table)
    assert lines["cpu"].startswith("*")
    assert lines["cpu"].endswith("chosen")
    for name, looked_for in NOWHERE.items():
        assert f"{name} (sagellm-{name} " in lines[name]
        assert "finds no device:" in lines[name]
        assert looked_for in lines[name]
    assert "computes nothing real" in lines["mock"]
    assert done.stdout.rstrip().endswith(
        "cpu on cpu is the only provider here that can run the model."
    )


def test_programs_are_told_the_same(sagellm: Sagellm) -> None:
    found = json.loads(sagellm("plugins", "why", "--json").stdout)["candidates"]
    codes = {each["name"]: each["rejection"] and each["rejection"]["code"] for each in found}
    assert codes == {
        "cpu": None,
        "mock": "simulated",
        **dict.fromkeys(NOWHERE, "no_device"),
    }


@pytest.mark.parametrize("name", NOWHERE)
def test_asking_for_one_by_name_says_what_is_missing(sagellm: Sagellm, name: str) -> None:
    done = sagellm("plugins", "why", "--backend", name)
    assert done.returncode == 1
    assert NOWHERE[name] in done.stderr


def test_doctor_has_one_line_for_each(sagellm: Sagellm) -> None:
    done = sagellm("doctor", "--json")
    findings = json.loads(done.stdout)["findings"]
    for name, looked_for in NOWHERE.items():
        (line,) = [each for each in findings if each["about"] == name]
        assert line["severity"] == "warning"
        assert looked_for in line["message"]


def test_auto_runs_on_the_cpu(sagellm: Sagellm, tmp_path: Path) -> None:
    from sagellm_core.testing.tiny.model import TinyModel

    model = str(TinyModel("llama", tmp_path / "model").place)
    done = sagellm("run", "-m", model, "-p", "Hi", "-t", "0", "--max-tokens", "3", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["provider"]["name"], result["provider"]["device"]) == ("cpu", "cpu")
    assert result["usage"]["completion_tokens"] == 3
