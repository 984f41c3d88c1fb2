"""NPUs found in made machines: state, reason and what to do about it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagellm_ascend import plugin
from sagellm_ascend.detection import detect

from sagellm_core.contract import DeviceState

USABLE, UNUSABLE, ABSENT = DeviceState.USABLE, DeviceState.PRESENT_UNUSABLE, DeviceState.ABSENT
_OLD = "/usr/local/Ascend/ascend-toolkit/latest"
_BUS = "0000:c1:00.0"

#: name: (machine, state, words of the reason, words of the hint)
CASES = {
    "nothing": (lambda m: m, ABSENT, "no /dev/davinci*", ""),
    "ready": (lambda m: m.ready(0), USABLE, "", ""),
    "network card of the same vendor": (
        lambda m: m.pci("0000:05:00.0", device=0x0222, kind=0x020000),
        ABSENT,
        "no accelerator of Huawei",
        "",
    ),
    "accelerator of another vendor": (
        lambda m: m.pci("0000:05:00.0", vendor=0x1DA3),
        ABSENT,
        "no /dev/davinci*",
        "",
    ),
    "no driver": (
        lambda m: m.pci(_BUS),
        UNUSABLE,
        f"on the PCI bus at {_BUS}, but there is no /dev/davinci*",
        "Install the NPU's driver",
    ),
    "container without the NPU": (
        lambda m: m.pci(_BUS) if m.write(".dockerenv") else m,
        UNUSABLE,
        "there is no /dev/davinci*",
        "--device /dev/davinci0",
    ),
    "container without the manager": (
        lambda m: m.nodes(0, shared=["hisi_hdc"]) if m.write(".dockerenv") else m,
        UNUSABLE,
        "there is no /dev/davinci_manager and no /dev/devmm_svm",
        "--device /dev/devmm_svm",
    ),
    "driver half loaded": (
        lambda m: m.nodes(0, shared=["davinci_manager", "devmm_svm"]),
        UNUSABLE,
        "there is no /dev/hisi_hdc",
        "driver",
    ),
    "no permission for the NPU": (
        lambda m: m.ready(0) if m.denied.add("dev/davinci0") is None else m,
        UNUSABLE,
        "this user may not open /dev/davinci0",
        "HwHiAiUser",
    ),
    "no permission for the manager": (
        lambda m: m.ready(0) if m.denied.add("dev/davinci_manager") is None else m,
        UNUSABLE,
        "this user may not open /dev/davinci_manager",
        "HwHiAiUser",
    ),
    "no CANN": (
        lambda m: m.nodes(0).driver().torch().torch_npu(),
        UNUSABLE,
        "CANN is not installed",
        "Install the CANN toolkit",
    ),
    "CANN that was removed": (
        lambda m: m.nodes(0).driver().sourced("/opt/cann"),
        UNUSABLE,
        "ASCEND_HOME_PATH=/opt/cann is set, and there is no such folder",
        "Install the CANN toolkit",
    ),
    "CANN moved": (
        lambda m: m.ready(0).sourced("/opt/cann"),
        UNUSABLE,
        "ASCEND_HOME_PATH=/opt/cann is set, and there is no such folder",
        "source /usr/local/Ascend/cann/set_env.sh",
    ),
    "CANN not set up": (
        lambda m: m.nodes(0).driver().cann().torch().torch_npu(),
        UNUSABLE,
        "CANN 8.5.0 is installed in /usr/local/Ascend/cann, but ASCEND_HOME_PATH and "
        "ASCEND_OPP_PATH are not set",
        "Run: source /usr/local/Ascend/cann/set_env.sh",
    ),
    "old CANN not set up": (
        lambda m: m.nodes(0).cann(
            "8.3.RC1", _OLD, script="usr/local/Ascend/ascend-toolkit/set_env.sh"
        ),
        UNUSABLE,
        f"CANN 8.3.RC1 is installed in {_OLD}",
        "Run: source /usr/local/Ascend/ascend-toolkit/set_env.sh",
    ),
    "CANN of a user": (
        lambda m: (
            m.nodes(0).cann("9.1.0", "/home/me/Ascend/cann")
            if m.env.update(HOME="/home/me") is None
            else m
        ),
        UNUSABLE,
        "CANN 9.1.0 is installed in /home/me/Ascend/cann",
        "Run: source /home/me/Ascend/cann/set_env.sh",
    ),
    "operators not set": (
        lambda m: _without(m.ready(0), "ASCEND_OPP_PATH"),
        UNUSABLE,
        "but ASCEND_OPP_PATH is not set",
        "source",
    ),
    "libraries not on the path": (
        lambda m: _without(m.ready(0), "LD_LIBRARY_PATH"),
        UNUSABLE,
        "its libascendcl.so is not on LD_LIBRARY_PATH",
        "source",
    ),
    "libraries known to the linker": (
        lambda m: (
            _without(m.ready(0), "LD_LIBRARY_PATH")
            if m.write("etc/ld.so.conf.d/cann.conf", "# CANN\n/usr/local/Ascend/cann/lib64\n")
            else m
        ),
        USABLE,
        "",
        "",
    ),
    "only version.cfg": (
        lambda m: m.nodes(0).cann("8.0.0", _OLD, info=False).sourced(_OLD).torch().torch_npu(),
        USABLE,
        "",
        "",
    ),
    "no torch_npu": (
        lambda m: m.nodes(0).cann().sourced().torch(),
        UNUSABLE,
        "torch_npu is not installed",
        "pip install 'sagellm-ascend[npu]'",
    ),
    "no torch": (
        lambda m: m.nodes(0).cann().sourced().torch_npu(),
        UNUSABLE,
        "torch_npu 2.9.0 is installed, but torch is not",
        "Install torch 2.9.0",
    ),
    "another torch": (
        lambda m: m.ready(0).torch("2.13.0+cpu"),
        UNUSABLE,
        "torch_npu 2.9.0 needs torch 2.9.0, and torch 2.13.0+cpu is installed",
        "Install torch 2.9.0",
    ),
    "torch of a later build": (
        lambda m: m.nodes(0).cann().sourced().torch("2.9.0").torch_npu("2.9.0.post2"),
        USABLE,
        "",
        "",
    ),
    "torch for CUDA": (
        lambda m: m.ready(0).torch("2.9.0+cu128", cuda="12.8"),
        UNUSABLE,
        "torch 2.9.0+cu128 was built for cuda 12.8",
        "an environment of its own",
    ),
    "torch for HIP": (
        lambda m: m.ready(0).torch("2.9.0+rocm6.4", hip="6.4"),
        UNUSABLE,
        "was built for hip 6.4",
        "in a build for the CPU",
    ),
    "hidden": (
        lambda m: _with(m.ready(0, 1), ASCEND_RT_VISIBLE_DEVICES=""),
        ABSENT,
        "ASCEND_RT_VISIBLE_DEVICES='' hides all 2 NPUs",
        "Unset",
    ),
    "hidden by a number below zero": (
        lambda m: _with(m.ready(0), ASCEND_RT_VISIBLE_DEVICES="-1"),
        ABSENT,
        "ASCEND_RT_VISIBLE_DEVICES='-1' hides the only NPU",
        "Unset",
    ),
    "hidden by an order that is none": (
        lambda m: _with(m.ready(0, 1), ASCEND_RT_VISIBLE_DEVICES="1,0"),
        ABSENT,
        "ASCEND_RT_VISIBLE_DEVICES='1,0' hides all 2 NPUs",
        "ascending order",
    ),
}


def _with(machine, **env: str):
    machine.env |= env
    return machine


def _without(machine, name: str):
    del machine.env[name]
    return machine


@pytest.mark.parametrize("case", CASES)
def test_the_first_device_and_why(case, machine) -> None:
    make, state, reason, hint = CASES[case]
    device = make(machine()).detect()[0]
    assert (device.state, reason in device.reason, hint in device.hint) == (state, True, True), (
        device
    )
    assert bool(device.reason) is (state is not USABLE)


def test_what_is_known_of_a_usable_npu(machine) -> None:
    (npu,) = machine().ready(0).pci(_BUS).detect()
    assert (npu.id, npu.name, npu.driver) == ("npu:0", "Ascend 910B", "25.0.rc1")
    assert npu.physical_id == _BUS
    # Told by the driver alone, after it is loaded.
    assert (npu.memory_total, npu.memory_free) == (None, None)


def test_addresses_are_those_that_the_driver_tells(machine) -> None:
    addresses = ("0000:01:00.0", "0000:81:00.0", _BUS)
    made = machine().ready(0, 1, 2)
    for address in addresses:
        made.pci(address)
    assert [npu.physical_id for npu in made.detect()] == ["", "", ""]
    made.table(_BUS, "c1:00.0 ---> 0\n01:00.0 ---> 1\nnonsense\n0000:81:00.0 ---> 2\n")
    assert [npu.physical_id for npu in made.detect()] == [_BUS, "0000:01:00.0", "0000:81:00.0"]


def test_an_address_that_two_domains_have_is_none(machine) -> None:
    made = machine().ready(0, 1).pci("0000:c1:00.0").pci("0001:c1:00.0")
    made.table("0000:c1:00.0", "c1:00.0 ---> 0\n0001:c1:00.0 ---> 1\n")
    assert [npu.physical_id for npu in made.detect()] == ["", ""]


def test_visible_ones_are_numbered_anew(machine) -> None:
    made = machine().ready(4, 5, 6, 7)
    for number in range(4):
        made.pci(f"0000:{number:02x}:00.0", device=0xD802 + number % 2)
    made.table("0000:00:00.0", "".join(f"0{n}:00.0 ---> {n + 4}\n" for n in range(4)))
    _with(made, ASCEND_RT_VISIBLE_DEVICES="1,3,8")
    first, second = made.detect()
    assert (first.id, first.physical_id, first.name) == ("npu:0", "0000:01:00.0", "Ascend 910_93")
    assert (second.id, second.physical_id) == ("npu:1", "0000:03:00.0")


def test_one_npu_may_be_denied_and_the_other_not(machine) -> None:
    made = machine().ready(0, 1)
    made.denied.add("dev/davinci0")
    assert [npu.state for npu in made.detect()] == [UNUSABLE, USABLE]


def test_every_npu_without_a_driver_is_told(machine) -> None:
    made = machine().pci("0000:01:00.0", device=0xD500).pci("0000:02:00.0", device=0xD900)
    found = made.detect()
    assert [npu.id for npu in found] == ["npu:0", "npu:1"]
    assert [npu.name for npu in found] == ["Ascend 310P", "Ascend NPU"]
    assert [npu.physical_id for npu in found] == ["0000:01:00.0", "0000:02:00.0"]


def test_a_gpu_beside_it_changes_nothing(machine) -> None:
    made = machine().ready(0).pci(_BUS).pci("0000:3b:00.0", 0x2330, 0x10DE, 0x030200)
    made.write("dev/nvidiactl")
    (npu,) = made.detect()
    assert (npu.state, npu.physical_id) == (USABLE, _BUS)


def test_detection_repeats_itself(machine) -> None:
    made = machine().ready(0, 1).pci(_BUS)
    assert made.detect() == made.detect()


def test_permissions_of_a_real_user() -> None:
    """Another user's process, over files that only their owner may open."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    script = """
import os, sys
from pathlib import Path
from sagellm_ascend.detection import detect
os.setuid(65534)
device, = detect({}, Path(sys.argv[1]))
print(device.state, device.reason)
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "dev").mkdir(mode=0o755)
        for name in ("davinci0", "davinci_manager", "devmm_svm", "hisi_hdc"):
            (Path(folder) / "dev" / name).touch(mode=0o600)
        done = subprocess.run(
            [sys.executable, "-c", script, folder], capture_output=True, text=True, check=True
        )
    assert done.stdout == "present_unusable this user may not open /dev/davinci_manager\n"


@given(value=st.none() | st.text(alphabet="0123456789,- x²", max_size=12), count=st.integers(1, 16))
def test_any_visibility_gives_ascending_places(value: str | None, count: int) -> None:
    from sagellm_ascend.visibility import visible

    places = visible(value, count)
    assert list(places) == sorted(set(places))
    assert all(0 <= place < count for place in places)
    assert value is not None or len(places) == count


@pytest.mark.parametrize(
    ("value", "places"),
    [
        (None, (0, 1, 2, 3)),
        ("", ()),
        ("-1", ()),
        ("2", (2,)),
        ("1,2,3", (1, 2, 3)),
        ("1, 2,3", (1,)),
        ("1,3,8", (1, 3)),
        ("3,1", ()),
        ("1,1", ()),
        ("0,", (0,)),
        ("9" * 5000, ()),
    ],
)
def test_visibility_as_cann_reads_it(value: str | None, places: tuple[int, ...]) -> None:
    from sagellm_ascend.visibility import visible

    assert visible(value, 4) == places


def test_the_hook_reads_this_machine(tmp_path: Path) -> None:
    (device,) = plugin.sagellm_detect_devices({}, tmp_path)
    assert device.state is ABSENT
    assert detect({}, tmp_path) == [device]


def test_probing_imports_no_torch() -> None:
    script = """
import sys
import tempfile
from pathlib import Path
from sagellm_ascend import plugin
plugin.sagellm_plugin_info()
for device in plugin.sagellm_detect_devices({}, Path("/")):
    plugin.sagellm_diagnose(device)
assert not {"torch", "torch_npu", "numpy"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
