"""``sagellm conformance``: the table, the files, the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FAST = ("-k", "test_hooks_are or test_the_contract or test_info")


def declared(folder: Path, text: str) -> list[str]:
    """Words of the command for 'goodgpu' with this file of a declaration; both stay in a folder."""
    file = folder / "test_it.py"
    file.write_text(text)
    return ["conformance", "goodgpu", "--declaration", str(file), "-o", str(folder)]


def written(place: Path) -> tuple[dict[str, Any], str]:
    data = json.loads((place / "conformance.json").read_text(encoding="utf-8"))
    return data, (place / "conformance.md").read_text(encoding="utf-8")


def test_a_plugin_that_conforms(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add("goodgpu", capabilities="frozenset({'generate'})")
    done = sagellm("conformance", "goodgpu", *FAST, "-o", str(tmp_path / "out"), path=plugin_site)
    assert done.returncode == 0, done.stdout + done.stderr
    table, skipped, verdict = done.stdout.strip().split("\n\n")
    rows = [line.split() for line in table.splitlines()]
    assert rows[0][:3] == ["GROUP", "PASSED", "FAILED"]
    assert rows[1][:3] == ["static", "3", "-"]
    assert rows[2][:3] == ["skew", "1", "-"]
    assert rows[3][:1] == ["capabilities"]
    assert "None of its tests were selected." in skipped
    assert verdict.startswith("goodgpu (sagellm-goodgpu 1.0) conforms to contract 1.0, as far as ")
    data, page = written(tmp_path / "out")
    assert (data["conforms"], data["complete"]) == (True, False)
    assert data["verdict"] == "conforms, as far as it was run"
    assert data["not_run"] == ["detection", "contract", "numeric", "engine"]
    assert (data["dist"], data["version"], data["core"]) == ("sagellm-goodgpu", "1.0", "0.1.0")
    assert data["device"]["id"] == "dev:0"
    assert page.startswith("# goodgpu: conforms, as far as it was run")


def test_a_plugin_that_does_not(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add("badgpu", requires=["sagellm-core>=0.1"])
    done = sagellm("conformance", "badgpu", *FAST, "-o", str(tmp_path), path=plugin_site)
    assert done.returncode == 0  # the bounds were not looked at
    done = sagellm(
        "conformance", "badgpu", "--group", "skew", "-o", str(tmp_path), path=plugin_site
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert "TestSkew::test_core_is_required_within_bounds" in line
    assert "no upper bound" in line
    assert "does not conform" in done.stdout
    data, page = written(tmp_path)
    assert data["conforms"] is False
    assert data["groups"] == ["skew"]
    assert "# badgpu: does not conform" in page


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("-k", "nosuchtest"), "-k 'nosuchtest' chose none"),
        (("--group", "skew", "-k", "nosuchtest"), "--group skew -k 'nosuchtest' chose none"),
    ],
)
def test_a_run_of_nothing_does_not_conform(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path, words: list[str], why: str
) -> None:
    plugin_site.add("goodgpu", capabilities="frozenset({'generate'})")
    done = sagellm("conformance", "goodgpu", *words, "-o", str(tmp_path), path=plugin_site)
    assert done.returncode == 1
    assert f"goodgpu (sagellm-goodgpu 1.0): no test was run: {why}. Written: " in done.stdout
    assert "conforms" not in done.stdout
    data, page = written(tmp_path)
    assert data["conforms"] is False
    assert page.startswith(f"# goodgpu: no test was run: {why}\n")


def test_an_expression_that_pytest_cannot_read(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add("goodgpu")
    done = sagellm("conformance", "goodgpu", "-k", "a(", "-o", str(tmp_path), path=plugin_site)
    assert done.returncode == 1
    assert "Wrong expression passed to '-k': a(" in done.stderr
    assert done.stderr.endswith("hint: Correct the expression of -k.\n")
    assert not (tmp_path / "conformance.json").exists()


def test_a_plugin_that_core_cannot_probe_does_not_conform(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add("dictgpu", info="return {'name': 'dictgpu'}")
    words = ("conformance", "dictgpu", "--group", "static", "--group", "skew")
    done = sagellm(*words, "-o", str(tmp_path), path=plugin_site)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert "TestDetection::test_core_can_probe_it" in line
    assert "does not conform to contract 1.0: " in done.stdout
    data, page = written(tmp_path)
    assert data["conforms"] is False
    (failed,) = [each for each in data["results"] if each["outcome"] == "failed"]
    assert "sagellm_plugin_info" in failed["reason"]
    assert f"| `TestDetection::test_core_can_probe_it` | {failed['reason']} |" in page
    # The test itself says it once.
    done = sagellm(
        "conformance", "dictgpu", "-k", "probe_it", "-o", str(tmp_path), path=plugin_site
    )
    assert done.returncode == 1
    assert [each["id"] for each in written(tmp_path)[0]["results"]] == [failed["id"]]


def test_a_capability_that_core_does_not_know(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add("owngpu", capabilities="frozenset({'generate', 'emebd'})")
    done = sagellm("conformance", "owngpu", *FAST, "-o", str(tmp_path), path=plugin_site)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    (failed,) = [each for each in written(tmp_path)[0]["results"] if each["outcome"] == "failed"]
    assert failed["id"] == "TestCapabilities::test_has_a_passing_test[emebd]"
    assert "Did you mean 'embed'?" in failed["reason"]
    assert "--declaration" in failed["reason"]


def test_provider_options_are_recorded(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add("goodgpu")
    words = declared(
        tmp_path,
        "from sagellm_core.testing import Declaration\n"
        "from sagellm_core.testing.suite import *\n"
        "DECLARATION = Declaration(plugin='goodgpu', capabilities=set(),\n"
        "    provider_options={'threads': 2, 'kind': object})\n",
    )
    done = sagellm(*words, *FAST, path=plugin_site)
    assert done.returncode == 0, done.stdout + done.stderr
    data, page = written(tmp_path)
    assert data["provider_options"] == {"threads": 2, "kind": "<class 'object'>"}
    assert "| provider options | threads=2, kind=\"<class 'object'>\" |" in page


def test_as_json(sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path) -> None:
    plugin_site.add("goodgpu")
    done = sagellm("conformance", "goodgpu", *FAST, "--json", "-o", str(tmp_path), path=plugin_site)
    printed = json.loads(done.stdout)
    assert printed == written(tmp_path)[0]
    assert {each["group"] for each in printed["results"]} == {"static", "skew"}


def test_with_the_vendors_file_and_expected_failures(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add("badgpu", requires=["sagellm-core>=0.1"])
    file = tmp_path / "test_conformance.py"
    file.write_text(
        "from sagellm_core.testing import Declaration\n"
        "from sagellm_core.testing.suite import *\n"
        "DECLARATION = Declaration(plugin='badgpu', capabilities={'generate'})\n"
    )
    xfails = tmp_path / "xfails.txt"
    xfails.write_text(
        "TestSkew::test_core_is_required_within_bounds  # until 1.0\n"
        "TestSkew::test_the_contract_is_not_newer  # stale\n"
    )
    words = ("conformance", "badgpu", "--group", "skew", "--declaration", str(file))
    done = sagellm(
        *words, "--group", "static", "--xfails", str(xfails), "-o", str(tmp_path), path=plugin_site
    )
    # Its declaration says more than it does.
    assert done.returncode == 1
    assert "The declaration has generate, and sagellm_plugin_info says none." in done.stdout
    stale = [line for line in done.stdout.splitlines() if line.startswith("stale")]
    assert len(stale) == 1
    assert "TestSkew::test_the_contract_is_not_newer is expected to fail and passed" in stale[0]
    outcomes = {each["id"]: each["outcome"] for each in written(tmp_path)[0]["results"]}
    assert outcomes["TestSkew::test_core_is_required_within_bounds"] == "xfailed"
    assert outcomes["TestSkew::test_the_contract_is_not_newer"] == "xpassed"


def test_a_file_about_another_plugin(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add("goodgpu")
    plugin_site.add("othergpu")
    words = declared(
        tmp_path,
        "from sagellm_core.testing import Declaration\n"
        "from sagellm_core.testing.suite import *\n"
        "DECLARATION = Declaration(plugin='othergpu', capabilities=set())\n",
    )
    done = sagellm(*words, *FAST, path=plugin_site)
    assert done.returncode == 1
    assert "The declaration is about 'othergpu', not about 'goodgpu'." in done.stderr
    assert not (tmp_path / "conformance.json").exists()


def test_a_file_that_cannot_be_collected(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add("goodgpu")
    words = declared(
        tmp_path, "from sagellm_core.testing.suite import *\nimport nothing_of_that_name\n"
    )
    done = sagellm(*words, "--json", path=plugin_site)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "invalid_configuration"
    assert "No module named 'nothing_of_that_name'" in error["message"]


def test_a_file_without_the_suite(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add("goodgpu")
    words = declared(
        tmp_path,
        "from sagellm_core.testing import Declaration\n"
        "DECLARATION = Declaration(plugin='goodgpu', capabilities=set())\n",
    )
    done = sagellm(*words, path=plugin_site)
    assert done.returncode == 1
    error, hint = done.stderr.strip().splitlines()
    assert error == f"error: {tmp_path / 'test_it.py'} has no test of the suite."
    assert "from sagellm_core.testing.suite import *" in hint


@pytest.mark.parametrize("by_flag", [True, False])
def test_an_expected_failure_without_a_reason_is_one_error_with_one_hint(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path, by_flag: bool
) -> None:
    plugin_site.add("goodgpu")
    (tmp_path / "xfails.txt").write_text("TestSkew::test_the_contract_is_not_newer\n")
    words = ["--xfails", str(tmp_path / "xfails.txt")]
    if not by_flag:
        file = tmp_path / "test_it.py"
        file.write_text(
            "from sagellm_core.testing import Declaration\n"
            "from sagellm_core.testing.suite import *\n"
            "DECLARATION = Declaration(plugin='goodgpu', capabilities=(), xfails='xfails.txt')\n"
        )
        words = ["--declaration", str(file)]
    done = sagellm("conformance", "goodgpu", *words, "-o", str(tmp_path), path=plugin_site)
    assert done.returncode == 1
    error, hint = done.stderr.strip().splitlines()
    assert "line 1: 'TestSkew::test_the_contract_is_not_newer' has no reason." in error
    assert hint == "hint: Write one after the id: test_id  # reason"


@pytest.mark.parametrize(
    ("place", "path"), [("afile/x", "afile/x"), ("", "conformance.json"), ("/proc", "/proc")]
)
def test_a_place_that_cannot_be_written_to(
    sagellm: Callable[..., Any], plugin_site: Any, tmp_path: Path, place: str, path: str
) -> None:
    plugin_site.add("goodgpu")
    (tmp_path / "afile").write_text("")
    (tmp_path / "conformance.json").mkdir()
    words = ("conformance", "goodgpu", *FAST, "-o", str(tmp_path / place))
    done = sagellm(*words, "--json", path=plugin_site)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "invalid_configuration"
    assert error["message"].startswith(f"{tmp_path / path} cannot be written: ")
    assert error["hint"] == "Name another directory with -o."


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("godgpu", "unknown_provider", "Did you mean 'goodgpu'?"),
        ("newgpu", "incompatible_provider", "newgpu (sagellm-newgpu 1.0) needs sagellm-core >=99"),
    ],
)
def test_a_plugin_that_nothing_can_be_run_on(
    sagellm: Callable[..., Any], plugin_site: Any, name: str, code: str, sentence: str
) -> None:
    plugin_site.add("goodgpu")
    plugin_site.add("newgpu", requires=["sagellm-core>=99"])
    done = sagellm("conformance", name, "--json", path=plugin_site)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code
    assert sentence in f"{error['message']} {error['hint']}"


def test_without_the_extra_it_says_how_to_get_it(
    sagellm: Callable[..., Any], plugin_site: Any
) -> None:
    plugin_site.add("goodgpu")
    # As where they are not installed: nobody can import either.
    (plugin_site.path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['pytest'] = sys.modules['numpy'] = None\n"
    )
    done = sagellm("conformance", "goodgpu", path=plugin_site)
    assert done.returncode == 1
    assert "The conformance tests need what is not installed: pytest, numpy." in done.stderr
    assert "pip install 'sagellm-core[testing]'" in done.stderr


@pytest.mark.parametrize("words", [["--group", "speed"], ["--declaration", "/no/such/file"], []])
def test_wrong_usage(sagellm: Callable[..., Any], words: list[str]) -> None:
    done = sagellm("conformance", *(["mock"] if words else []), *words)
    assert done.returncode == 2
