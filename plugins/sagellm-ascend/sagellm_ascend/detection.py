"""Which NPUs this process could use, and why not the others. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sagellm_torch.hardware import AccessCheck, Problem, in_container, may_open, read_fields

from sagellm_core.contract import DeviceInfo, DeviceState

from .hardware import NPU, SHARED_NODES, accelerators, chip_name, device_numbers, npus
from .packages import packages_problem
from .toolkit import find_toolkit, missing_home
from .visibility import VARIABLE, visible

_DRIVER = "usr/local/Ascend/driver/version.info"


def detect(
    env: Mapping[str, str],
    root: Path,
    *,
    search_path: Sequence[str] | None = None,
    access: AccessCheck = may_open,
) -> list[DeviceInfo]:
    """The NPUs that CANN would show this process, numbered as it numbers them.

    What keeps them from being used makes them ``PRESENT_UNUSABLE``, CANN and torch_npu included:
    then nobody computes on the CPU beside an idle NPU without having said so. What the user has
    hidden is not there.

    :param search_path: where Python packages are looked for, instead of where imports look.
    :param access: whether this process may open a device file.
    """
    numbers, on_bus = device_numbers(root), accelerators(root)
    driver = driver_version(root)
    if not numbers:
        if not on_bus:
            return [_absent("no /dev/davinci*, and no accelerator of Huawei on the PCI bus")]
        return [
            DeviceInfo(
                id=f"npu:{place}",
                state=DeviceState.PRESENT_UNUSABLE,
                name=chip_name(device),
                reason=f"it is on the PCI bus at {device.address}, but there is no /dev/davinci*",
                hint=_hand_in("/dev/davinci0") if in_container(env, root) else _DRIVER_HINT,
                driver=driver,
                physical_id=device.address,
            )
            for place, device in enumerate(on_bus)
        ]
    every = npus(root, numbers, on_bus)
    places = visible(env.get(VARIABLE), len(every))
    if not places:
        count = f"all {len(every)} NPUs" if len(every) > 1 else "the only NPU"
        return [_absent(f"{VARIABLE}={env.get(VARIABLE, '')!r} hides {count}", _VISIBLE_HINT)]
    common = _shared_problem(env, root, search_path, access)
    return [
        _describe(every[place], index, driver, common or _own_problem(every[place], root, access))
        for index, place in enumerate(places)
    ]


def driver_version(root: Path) -> str:
    """The version of the driver's user-space part; empty where it is not installed."""
    fields = read_fields(root / _DRIVER, "=")
    return fields.get("Version") or fields.get("package_version") or ""


_DRIVER_HINT = "Install the NPU's driver and firmware (Ascend HDK), and restart."
_VISIBLE_HINT = f"Unset {VARIABLE}, or list NPUs in ascending order, as 0,1."


def _hand_in(node: str) -> str:
    return (
        f"Start the container with --device {node}, --device /dev/davinci_manager, "
        "--device /dev/devmm_svm and --device /dev/hisi_hdc, or by Ascend Docker Runtime with "
        "ASCEND_VISIBLE_DEVICES."
    )


def _absent(reason: str, hint: str = "") -> DeviceInfo:
    return DeviceInfo(id="npu", state=DeviceState.ABSENT, reason=reason, hint=hint)


def _describe(npu: NPU, index: int, driver: str, problem: Problem | None) -> DeviceInfo:
    device = DeviceInfo(
        id=f"npu:{index}",
        state=DeviceState.USABLE,
        name=npu.chip,
        driver=driver,
        physical_id=npu.address,
    )
    if problem is None:
        return device
    return replace(
        device, state=DeviceState.PRESENT_UNUSABLE, reason=problem.reason, hint=problem.hint
    )


def _shared_problem(
    env: Mapping[str, str],
    root: Path,
    search_path: Sequence[str] | None,
    access: AccessCheck,
) -> Problem | None:
    """What keeps all NPUs from being used: the first of device files, CANN, and packages."""
    missing = [f"/{node}" for node in SHARED_NODES if not (root / node).exists()]
    if missing:
        hint = _hand_in("/dev/davinci0") if in_container(env, root) else _DRIVER_HINT
        return Problem(f"there is no {' and no '.join(missing)}", hint)
    for node in SHARED_NODES:
        if not access(root / node):
            return _denied(node)
    return _toolkit_problem(env, root) or packages_problem(search_path)


def _own_problem(npu: NPU, root: Path, access: AccessCheck) -> Problem | None:
    return None if access(root / npu.node) else _denied(npu.node)


def _denied(node: str) -> Problem:
    return Problem(
        f"this user may not open /{node}",
        "Add the user to the group that owns it, as in: usermod -a -G HwHiAiUser USER",
    )


def _toolkit_problem(env: Mapping[str, str], root: Path) -> Problem | None:
    toolkit = find_toolkit(env, root)
    named = missing_home(env, root)
    if toolkit is None:
        found = f"{named} is set, and there is no such folder" if named else "CANN is not installed"
        return Problem(
            found,
            "Install the CANN toolkit and the kernels for your NPU, then source its set_env.sh.",
        )
    hint = f"Run: source {toolkit.script}"
    if named:
        return Problem(f"{named} is set, and there is no such folder", hint)
    if toolkit.problem:
        return Problem(f"{toolkit} is installed in {toolkit.home}, but {toolkit.problem}", hint)
    return None
