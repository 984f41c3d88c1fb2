from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def zoo(plugin_site: Any) -> Any:
    """Plugins in every state."""
    plugin_site.add("goodgpu")
    plugin_site.add("crashgpu", detect="os.kill(os.getpid(), 11)")
    plugin_site.add(
        "nogpu",
        devices="[DeviceInfo(id='n', state=DeviceState.ABSENT, reason='there is no /dev/n')]",
    )
    plugin_site.add("newgpu", requires=("sagellm-core>=99",))
    return plugin_site


def test_list_shows_each_with_its_status(sagellm: Callable[..., Any], zoo: Any) -> None:
    done = sagellm("plugins", "list", path=zoo.path)
    assert done.returncode == 0
    table = done.stdout.partition("\n\n")[0]
    lines = {line.split()[0]: line.split() for line in table.splitlines()}
    assert lines["goodgpu"] == ["goodgpu", "sagellm-goodgpu", "1.0", "ok"]
    assert lines["newgpu"][:4] == ["newgpu", "sagellm-newgpu", "1.0", "core_requirement"]
    assert "sagellm-core>=99" in done.stdout


def test_list_as_json(sagellm: Callable[..., Any], zoo: Any) -> None:
    listed = json.loads(sagellm("plugins", "list", "--json", path=zoo.path).stdout)
    by_name = {entry["name"]: entry for entry in listed}
    assert by_name["goodgpu"]["status"] == "ok"
    assert by_name["goodgpu"]["rejection"] is None
    assert by_name["newgpu"]["rejection"]["code"] == "core_requirement"


def test_a_plugin_switched_off_is_listed_as_such(sagellm: Callable[..., Any], zoo: Any) -> None:
    done = sagellm("-p", "no:goodgpu", "plugins", "list", "--json", path=zoo.path)
    by_name = {entry["name"]: entry["status"] for entry in json.loads(done.stdout)}
    assert by_name["goodgpu"] == "blocked"


def test_why_marks_the_chosen_and_gives_each_reason(sagellm: Callable[..., Any], zoo: Any) -> None:
    done = sagellm("plugins", "why", path=zoo.path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert next(line for line in lines if line.startswith("*")).split()[1:4] == [
        "1",
        "goodgpu",
        "dev:0",
    ]
    for name, reason in (
        ("crashgpu", "SIGSEGV"),
        ("nogpu", "there is no /dev/n"),
        ("newgpu", 'pip install "sagellm-core>=99"'),
    ):
        assert [line for line in lines if f" {name} " in line and reason in line], name


def test_why_as_json(sagellm: Callable[..., Any], zoo: Any) -> None:
    done = sagellm("plugins", "why", "--json", path=zoo.path)
    explained = json.loads(done.stdout)
    chosen = [each for each in explained["candidates"] if each["chosen"]]
    assert [each["name"] for each in chosen] == ["goodgpu"]
    assert explained["error"] is None


def test_why_with_a_model_that_is_missing(sagellm: Callable[..., Any], zoo: Any) -> None:
    done = sagellm("plugins", "why", "-m", "/no/such/model", path=zoo.path)
    assert done.returncode == 1
    assert "/no" in done.stderr


def test_why_of_a_backend_by_name(sagellm: Callable[..., Any], zoo: Any) -> None:
    done = sagellm("plugins", "why", "--backend", "nogpu", "--json", path=zoo.path)
    assert done.returncode == 1
    explained = json.loads(done.stdout)
    assert explained["error"]["code"] == "device_unavailable"
    assert "there is no /dev/n" in explained["error"]["message"]


def test_why_takes_the_short_flag_of_run(sagellm: Callable[..., Any], zoo: Any) -> None:
    done = sagellm("plugins", "why", "-b", "goodgpu", path=zoo.path)
    assert done.returncode == 0, done.stderr
    assert "goodgpu on dev:0 was asked for by name." in done.stdout


def test_why_says_once_that_a_name_is_taken(sagellm: Callable[..., Any], zoo: Any) -> None:
    zoo.add("twin", dist="first-twin")
    zoo.add("twin", dist="second-twin")
    done = sagellm("plugins", "why", path=zoo.path)
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "twin" in line]
    assert line.split()[:2] == ["-", "twin"]
    assert " first-twin 1.0, second-twin 1.0 " in line
    assert line.endswith("pip uninstall first-twin or pip uninstall second-twin")
    explained = json.loads(sagellm("plugins", "why", "--json", path=zoo.path).stdout)
    assert sum("twin" in warning for warning in explained["warnings"]) == 1
    assert [each["dist"] for each in explained["candidates"] if each["name"] == "twin"] == [
        "first-twin",
        "second-twin",
    ]


def test_each_hint_says_whose_it_is(sagellm: Callable[..., Any], zoo: Any) -> None:
    zoo.add("twin", dist="first-twin")
    zoo.add("twin", dist="second-twin")
    zoo.add("goodcpu", device_class="CPU")
    zoo.add("misspelt", tail="@hookimpl\ndef sagellm_open_runer(model): pass")
    done = sagellm("plugins", "why", path=zoo.path, env={"SAGELLM_PLUGINS": "misspelt"})
    assert done.returncode == 1
    hints = [line for line in done.stderr.splitlines() if not line.startswith("error: ")]
    assert sum("SAGELLM_PLUGINS" in line for line in hints) == 1
    uninstall = "pip uninstall first-twin or pip uninstall second-twin"
    assert f"hint: twin: Keep one of them: {uninstall}" in hints
    assert "hint: misspelt: Did you mean sagellm_open_runner?" in hints
    (named,) = [line for line in hints if "SAGELLM_PLUGINS" in line]
    names, _, rest = named.removeprefix("hint: ").partition(": ")
    assert {"crashgpu", "goodcpu", "goodgpu", "nogpu"} <= set(names.split(", "))
    assert rest == "Name it in SAGELLM_PLUGINS, or ask for the backend by name."


def test_why_for_embedding(sagellm: Callable[..., Any], plugin_site: Any) -> None:
    plugin_site.add("goodgpu", capabilities="frozenset({'generate'})")
    plugin_site.add("vecgpu", capabilities="frozenset({'embed'})")
    only = {"SAGELLM_PLUGINS": "goodgpu,vecgpu"}
    for flags, chosen, reason in (
        (["--embed"], "vecgpu", "does not embed"),
        ([], "goodgpu", "only embeds"),
    ):
        done = sagellm("plugins", "why", *flags, "--json", path=plugin_site.path, env=only)
        found = json.loads(done.stdout)["candidates"]
        assert [each["name"] for each in found if each["chosen"]] == [chosen]
        assert any(reason in each["rejection"]["message"] for each in found if each["rejection"])


def _finding(done: Any, about: str) -> list[dict[str, str]]:
    return [each for each in json.loads(done.stdout)["findings"] if each["about"] == about]


def test_doctor_reports_every_plugin_and_ends_with_1(sagellm: Callable[..., Any], zoo: Any) -> None:
    done = sagellm("doctor", "--json", path=zoo.path)
    assert done.returncode == 1
    assert _finding(done, "goodgpu")[0]["severity"] == "ok"
    assert _finding(done, "nogpu")[0]["severity"] == "warning"
    assert _finding(done, "crashgpu")[0]["severity"] == "error"
    assert "SIGSEGV" in _finding(done, "crashgpu")[0]["message"]
    assert _finding(done, "newgpu")[0]["hint"]


def test_doctor_is_content_with_a_good_installation(
    sagellm: Callable[..., Any], plugin_site: Any
) -> None:
    plugin_site.add(
        "goodgpu",
        tail="""
        @hookimpl
        def sagellm_diagnose(device):
            return [Finding(severity=Severity.OK, message="the fan turns")]
        """,
    )
    only = {"SAGELLM_PLUGINS": "goodgpu"}
    done = sagellm("doctor", path=plugin_site.path, env=only)
    assert done.returncode == 0, done.stdout
    assert "the fan turns" in done.stdout


def test_doctor_says_what_else_owns_our_names(
    sagellm: Callable[..., Any], plugin_site: Any
) -> None:
    plugin_site.dist("isagellm-core", "", version="0.5.1")
    done = sagellm("doctor", "--json", path=plugin_site.path)
    assert done.returncode == 1
    found = _finding(done, "installation")[0]
    assert found["severity"] == "error"
    assert "isagellm-core" in found["message"]
    assert "pip uninstall -y isagellm-core" in found["hint"]


def test_doctor_when_nothing_is_usable(sagellm: Callable[..., Any], zoo: Any) -> None:
    done = sagellm("doctor", "--json", path=zoo.path, env={"SAGELLM_PLUGINS": "nogpu"})
    assert done.returncode == 1
    assert "No installed plugin has a usable device" in done.stdout


def test_doctor_when_a_control_is_misspelt(sagellm: Callable[..., Any]) -> None:
    done = sagellm("doctor", "--json", env={"SAGELLM_PLUGINS": "mokc"})
    assert done.returncode == 1
    assert "mokc" in _finding(done, "plugins")[0]["message"]


def test_doctor_looks_at_the_directories(sagellm: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = sagellm("doctor", "--json", env={"SAGELLM_CACHE_DIR": str(tmp_path / "file" / "x")})
    assert _finding(done, "cache")[0]["severity"] == "warning"
    assert not (tmp_path / "home" / ".cache").exists()
    assert not (tmp_path / "home" / ".sage").exists()
