"""Which torch is one for DCUs."""

from __future__ import annotations

import pytest
from sagellm_dcu.fitness import build_problem, is_of_the_dtk
from sagellm_torch.torch_build import TorchBuild


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (None, "torch is not installed"),
        (TorchBuild("2.13.0+cpu", {}), "torch 2.13.0+cpu is a build without HIP"),
        (
            TorchBuild("2.13.0+cu128", {"cuda": "12.8"}),
            "torch 2.13.0+cu128 is a build for cuda, not for HIP",
        ),
    ],
)
def test_builds_that_are_not(build, reason) -> None:
    problem = build_problem(build)
    assert problem is not None
    assert problem.reason == reason
    assert "DTK" in problem.hint


@pytest.mark.parametrize(
    "build",
    [TorchBuild("2.4.1+das.opt1.dtk25041", {"hip": "6.1.25082"}), TorchBuild("", None)],
)
def test_builds_that_are_or_do_not_say(build) -> None:
    assert build_problem(build) is None


@pytest.mark.parametrize(
    ("version", "of_the_dtk"),
    [
        ("2.4.1+das.opt1.dtk25041", True),
        ("2.1.0a0+git1234.abi1.dtk2404", True),
        ("2.9.0+rocm6.4", False),
        ("2.9.0", False),
    ],
)
def test_hygons_builds_say_so(version, of_the_dtk) -> None:
    assert is_of_the_dtk(TorchBuild(version, {"hip": "6"})) == of_the_dtk
