"""What users install together: listed, explained, run, and gone without a trace."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from sagellm_core import __version__

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(1800)]
with_torch = pytest.mark.skipif(
    not os.environ.get("SAGELLM_TEST_INSTALLS"), reason="nox -s wheels installs torch for this"
)

_CORE = Version(__version__)
#: Within the range of this repository's plugins, and beyond it.
LATER = f"{_CORE.major}.{_CORE.minor}.{_CORE.micro + 1}"
NEXT_MINOR = f"{_CORE.major}.{_CORE.minor + 1}.0"


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A tiny random Llama."""
    pytest.importorskip("numpy")
    from sagellm_core.testing.tiny.family import FAMILIES
    from sagellm_core.testing.tiny.files import write_model
    from sagellm_core.testing.tiny.weights import random_weights

    family = FAMILIES["llama"]
    write_model(tmp_path / "llama", family, random_weights(family))
    return str(tmp_path / "llama")


def listed(environment: Any) -> dict[str, str]:
    """Plugin to status."""
    done = environment.run("sagellm", "plugins", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {entry["name"]: entry["status"] for entry in json.loads(done.stdout)}


def explained(environment: Any, *flags: str) -> tuple[str | None, dict[str, str]]:
    """What was chosen, and why the others were not, each in one line."""
    done = environment.run("sagellm", "plugins", "why", *flags, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == (told["error"] is not None)
    table = environment.run("sagellm", "plugins", "why", *flags)
    assert "Traceback" not in table.stdout + table.stderr
    reasons = {}
    for each in told["candidates"]:
        # A row a plugin: the name, its distribution and the reason, on one line of the table.
        (line,) = [
            line
            for line in table.stdout.splitlines()
            if f" {each['name']} " in line and each["dist"] in line
        ]
        if each["rejection"] is not None:
            reasons[each["name"]] = each["rejection"]["message"]
            assert " ".join(each["rejection"]["message"].split()) in line
    chosen = next((each["name"] for each in told["candidates"] if each["chosen"]), None)
    return chosen, reasons


def answer(environment: Any, *flags: str) -> dict[str, Any]:
    """A prompt's result."""
    command = ("run", *flags, "-p", "Hello", "--max-tokens", "3", "-t", "0", "--json")
    done = environment.run("sagellm", *command)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert 1 <= len(result["token_ids"]) <= 3
    return result


def refused(environment: Any, *flags: str) -> str:
    """What is said where nothing can run."""
    done = environment.run("sagellm", "run", *flags, "-p", "Hello")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    return str(done.stderr)


def _without_versions(sentence: str) -> str:
    return re.sub(r"\d+(\.\d+)+", "VERSION", sentence)


def test_core_alone(environment: Any, combination: Callable[[str], Any]) -> None:
    row = combination("core")
    environment.install("sagellm-core")
    row["installed"] = f"{len(environment.dists())} dists"
    assert listed(environment) == {}
    row["list"] = "no plugins"
    assert explained(environment) == (None, {})
    row["why"] = "nothing can run"
    assert "pip install sagellm-mock" in refused(environment, "--backend", "mock", "-m", "any")
    row["run"] = "says what to install"
    environment.pip("uninstall", "-y", *environment.dists())
    assert environment.files() == environment.before
    row["uninstalled"] = "nothing is left"


def test_core_and_mock(environment: Any, combination: Callable[[str], Any]) -> None:
    row = combination("core + mock")
    environment.install("sagellm-mock")
    row["installed"] = f"{len(environment.dists())} dists"
    assert listed(environment) == {"mock": "ok"}
    row["list"] = "mock"
    chosen, reasons = explained(environment)
    assert chosen is None
    assert "never chosen of itself" in reasons["mock"]
    row["why"] = "by name only"
    assert answer(environment, "-b", "mock", "-m", "any")["provider"]["dist"] == "sagellm-mock"
    refused(environment, "-m", "any")
    row["run"] = "3 tokens"
    environment.pip("uninstall", "-y", "sagellm-mock")
    assert listed(environment) == {}
    environment.pip("uninstall", "-y", *environment.dists())
    assert environment.files() == environment.before
    row["uninstalled"] = "nothing is left"


def test_two_cores_within_a_plugins_range(
    environment: Any, wheelhouse: Any, combination: Callable[[str], Any]
) -> None:
    row = combination(f"core {__version__}, then {LATER}, + mock")
    environment.install("sagellm-mock")
    oldest = answer(environment, "-b", "mock", "-m", "any")
    environment.pip("install", str(wheelhouse.core(LATER)))
    row["installed"] = "both"
    assert environment.run("sagellm", "--version").stdout.split()[-1] == LATER
    assert listed(environment) == {"mock": "ok"}
    row["list"] = "ok with both"
    assert explained(environment, "--backend", "mock") == ("mock", {})
    row["why"] = "mock with both"
    newest = answer(environment, "-b", "mock", "-m", "any")
    assert newest["token_ids"] == oldest["token_ids"]
    row["run"] = "the same tokens"
    assert environment.uninstall_ours() == []
    row["uninstalled"] = "nothing is left"


def test_a_core_beyond_a_plugins_range(
    environment: Any, wheelhouse: Any, combination: Callable[[str], Any]
) -> None:
    row = combination(f"core {NEXT_MINOR} + mock")
    environment.install("sagellm-mock")
    # As `pip install -U sagellm-core` would, which warns and goes on.
    environment.pip("install", str(wheelhouse.core(NEXT_MINOR)))
    row["installed"] = "against its range"
    assert listed(environment) == {"mock": "core_requirement"}
    shown = environment.run("sagellm", "plugins", "list").stdout
    line = (
        f"mock (sagellm-mock 0.1.0) needs sagellm-core <{NEXT_MINOR.removesuffix('.0')},>=0.1, "
        f"and {NEXT_MINOR} is installed. Run: pip install -U sagellm-mock"
    )
    assert line in shown.splitlines()
    page = (Path(__file__).parents[2] / "docs" / "vendors" / "versioning.md").read_text()
    (promised,) = re.findall(r"^orbit \(.*$", page, re.MULTILINE)
    assert _without_versions(promised) == _without_versions(line).replace("mock", "orbit")
    row["list"] = "refused"
    chosen, reasons = explained(environment)
    assert chosen is None
    assert NEXT_MINOR in reasons["mock"]
    row["why"] = "refused"
    assert "pip install -U sagellm-mock" in refused(environment, "-b", "mock", "-m", "any")
    row["run"] = "says what to install"
    environment.install("sagellm-core")
    assert listed(environment) == {"mock": "ok"}
    assert environment.uninstall_ours() == []
    row["uninstalled"] = "nothing is left"


@with_torch
def test_core_and_cpu(environment: Any, model: str, combination: Callable[[str], Any]) -> None:
    row = combination("core + cpu")
    environment.install("sagellm-backend")
    row["installed"] = f"{len(environment.dists())} dists"
    assert listed(environment) == {"cpu": "ok"}
    row["list"] = "cpu"
    assert explained(environment, "-m", model) == ("cpu", {})
    row["why"] = "cpu"
    assert answer(environment, "-m", model)["provider"]["name"] == "cpu"
    row["run"] = "3 tokens"
    assert environment.uninstall_ours() == []
    # What is kept for the next time is the user's: compiled kernels. pip has a cache, and asks
    # rustc for its version, which may be rustup's.
    kept = {path.relative_to(environment.home).parts[:2] for path in environment.home.rglob("*")}
    ours = {parts for parts in kept if parts[0] != ".rustup" and parts != (".cache", "pip")}
    assert ours <= {(".cache",), (".cache", "sagellm")}
    row["uninstalled"] = "nothing is left"


@with_torch
@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="this machine has a GPU")
def test_core_and_cuda_without_a_gpu(
    environment: Any, model: str, combination: Callable[[str], Any]
) -> None:
    row = combination("core + cuda, no GPU")
    environment.install("sagellm-cuda")
    row["installed"] = f"{len(environment.dists())} dists"
    assert listed(environment) == {"cuda": "ok"}
    row["list"] = "cuda"
    chosen, reasons = explained(environment, "-m", model)
    assert chosen is None
    assert "finds no device" in reasons["cuda"]
    row["why"] = "finds no device"
    assert "/dev/nvidiactl" in refused(environment, "-m", model)
    assert "/dev/nvidiactl" in refused(environment, "-m", model, "-b", "cuda")
    row["run"] = "says why not"
    assert environment.uninstall_ours() == []
    row["uninstalled"] = "nothing is left"


@with_torch
def test_everything_together(
    environment: Any, wheelhouse: Any, model: str, combination: Callable[[str], Any]
) -> None:
    row = combination("every dist of the repository")
    environment.install(*wheelhouse.sources)
    assert set(wheelhouse.sources) <= environment.dists()
    row["installed"] = f"{len(environment.dists())} dists"
    statuses = listed(environment)
    vendors = set(statuses) - {"cpu", "mock"}
    assert {"cpu", "mock", "cuda", "ascend", "dcu"} <= set(statuses)
    assert set(statuses.values()) == {"ok"}
    row["list"] = f"{len(statuses)} plugins"
    chosen, reasons = explained(environment, "-m", model)
    assert chosen == "cpu"
    assert set(reasons) == {"mock", *vendors}
    for name in vendors:
        assert "finds no device" in reasons[name]
    row["why"] = "cpu; a reason each"
    assert answer(environment, "-m", model)["provider"]["name"] == "cpu"
    row["run"] = "3 tokens"
    assert environment.uninstall_ours() == []
    row["uninstalled"] = "nothing is left"
