"""The working provider passes everything."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sagellm_core.testing.result import Outcome

BOARDS = """
@hookimpl
def sagellm_detect_devices(env, root):
    return boards(env, root)
"""
TREES = {
    "visibility": "('TINY_VISIBLE_DEVICES',)",
    "trees": "{'two boards': __import__('tiny_provider.plugin').plugin.write_boards}",
    "device_required": "False",
}


def test_every_group_passes(workshop: Any, told: Any) -> None:
    workshop.install("fine")
    report = workshop.run("fine", model_types="None")
    assert told(report) == {}
    assert report.conforms
    assert {each.group for each in report.results} == {
        "static", "detection", "contract", "numeric", "engine", "skew", "capabilities",
    }  # fmt: skip
    ran = Counter(each.group for each in report.of(Outcome.PASSED))
    assert ran["numeric"] >= 4 * 10
    assert ran["capabilities"] == 3
    # What is left out says why, and is not much.
    assert len(report.of(Outcome.SKIPPED)) <= 10
    assert all(each.reason for each in report.of(Outcome.SKIPPED))


def test_an_accelerator_passes_without_its_hardware(workshop: Any, told: Any) -> None:
    workshop.install("board", BOARDS, info="DeviceClass.ACCELERATOR")
    report = workshop.run("board", "detection", "numeric", **TREES)
    assert told(report) == {}
    detected = {each.id for each in report.of(Outcome.PASSED) if each.group == "detection"}
    assert "TestDetection::test_made_trees_have_devices" in detected
    hidden = "TestDetection::test_an_empty_variable_hides_every_device[TINY_VISIBLE_DEVICES]"
    assert hidden in detected
    for each in report.results:
        if each.group in ("numeric", "capabilities"):
            assert each.outcome is Outcome.SKIPPED
            assert each.reason.startswith("No device is usable here: none: There is no /")
