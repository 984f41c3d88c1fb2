"""Findings for ``sagellm doctor``."""

from __future__ import annotations

import pytest
from sagellm_ascend.compatibility import made_for
from sagellm_ascend.diagnosis import findings

from sagellm_core.contract import DeviceInfo, DeviceState, Severity

_NPU = DeviceInfo(id="npu:0", state=DeviceState.USABLE)


def _said(machine, device: DeviceInfo = _NPU) -> list[tuple[str, str]]:
    found = findings(device, machine.env, machine.root, machine.packages)
    assert all(each.hint for each in found if each.severity is not Severity.OK)
    return [(str(each.severity), each.message) for each in found]


def test_all_is_well(machine) -> None:
    assert _said(machine().ready(0)) == [
        ("ok", "Driver: 25.0.rc1."),
        ("ok", "CANN: 8.5.0 in /usr/local/Ascend/cann."),
        ("ok", "torch_npu: 2.9.0 beside torch 2.9.0+cpu."),
        ("ok", "torch_npu 2.9.0 is made for CANN 8.5.0."),
    ]


def test_nothing_is_there(machine) -> None:
    said = _said(machine().nodes(0))
    assert [severity for severity, _ in said] == ["warning"] * 3
    assert [message.split(":")[0] for _, message in said] == ["Driver", "CANN", "torch_npu"]


def test_cann_and_torch_npu_of_different_releases(machine) -> None:
    made = machine().nodes(0).cann("8.3.RC1").sourced().torch().torch_npu()
    message = "torch_npu 2.9.0 is made for CANN 8.5.0; 8.3.RC1 is installed."
    assert ("warning", message) in _said(made)


def test_a_torch_npu_that_is_not_in_the_table(machine) -> None:
    made = machine().nodes(0).cann("9.2.0").sourced().torch("2.13.0+cpu").torch_npu("2.13.0")
    message = "Whether CANN and torch_npu match is not known here for torch_npu 2.13.0."
    assert ("ok", message) in _said(made)


def test_torch_npu_without_cann_harms_everybody(machine) -> None:
    made = machine().torch().torch_npu()
    absent = DeviceInfo(id="npu", state=DeviceState.ABSENT, reason="none")
    (said,) = _said(made, absent)
    assert said[0] == "warning"
    assert "importing torch fails in every program here" in said[1]
    assert _said(made.cann().sourced(), absent) == []
    assert _said(machine(), absent) == []


def test_several_npus_are_told_once(machine) -> None:
    second = DeviceInfo(id="npu:1", state=DeviceState.USABLE)
    assert _said(machine().ready(0, 1), second) == []


def test_packages_that_do_not_fit(machine) -> None:
    made = machine().ready(0).torch("2.9.0+cu128", cuda="12.8")
    message = "Torch 2.9.0+cu128 was built for cuda 12.8, which torch_npu does not run beside."
    assert ("warning", message) in _said(made)


def test_cann_that_is_not_set_up(machine) -> None:
    said = _said(machine().nodes(0).cann())
    assert any("but ASCEND_HOME_PATH and ASCEND_OPP_PATH are not set." in each for _, each in said)


@pytest.mark.parametrize(
    ("torch_npu", "cann"),
    [("2.7.1", "8.3.RC1"), ("2.8.0.post2", "8.5.0"), ("2.12.0", "9.1.0"), ("1.0", None)],
)
def test_releases_that_belong_together(torch_npu, cann) -> None:
    assert made_for(torch_npu) == cann
