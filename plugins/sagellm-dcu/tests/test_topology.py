"""What the compute driver lists, and what the hook makes of it."""

from __future__ import annotations

import pytest
from sagellm_dcu import plugin
from sagellm_dcu.topology import DCU, accelerators, driver_version, has_driver, has_topology
from sagellm_torch.testing.machine import Files, make

from sagellm_core.contract import DeviceState

_GIB = 2**30
_NODES = "sys/class/kfd/kfd/topology/nodes"
_PCI = "sys/bus/pci/devices/0000:07:00.0"


def _node(properties: str, number: int = 1) -> Files:
    place = f"{_NODES}/{number}"
    return {
        f"{place}/properties": properties,
        f"{place}/mem_banks/0/properties": f"heap_type 1\nsize_in_bytes {48 * _GIB}\n",
        f"{place}/mem_banks/1/properties": f"heap_type 2\nsize_in_bytes {16 * _GIB}\n",
        f"{place}/mem_banks/2/properties": "heap_type 4\nsize_in_bytes 65536\n",
    }


_PROPERTIES = (
    "cpu_cores_count 0\nsimd_count 480\nvendor_id 7572\ngfx_target_version 90208\n"
    f"location_id 1792\ndomain 0\ndrm_render_minor 128\nunique_id {0xBABABABABABABABA}\n"
)


def test_a_node(tmp_path) -> None:
    make(tmp_path, _node(_PROPERTIES) | {f"{_PCI}/mem_info_vram_used": f"{24 * _GIB}\n"})
    assert accelerators(tmp_path) == (
        DCU(
            vendor=0x1D94,
            address="0000:07:00.0",
            uuid="GPU-babababababababa",
            target="gfx928",
            render=128,
            # Local memory alone, all of it: not what work groups share.
            memory_total=64 * _GIB,
            memory_free=40 * _GIB,
        ),
    )


def test_names(tmp_path) -> None:
    make(tmp_path, _node(_PROPERTIES))
    assert accelerators(tmp_path)[0].name == "Hygon DCU gfx928"
    make(tmp_path, {f"{_PCI}/product_name": "K100_AI\n"})
    assert accelerators(tmp_path)[0].name == "K100_AI gfx928"


@pytest.mark.parametrize(
    ("version", "target"),
    [
        (90006, "gfx906"),
        (90206, "gfx926"),
        (90208, "gfx928"),
        (90306, "gfx936"),
        (90010, "gfx90a"),
        (0, ""),
    ],
)
def test_instruction_sets(tmp_path, version, target) -> None:
    make(tmp_path, _node(f"simd_count 1\nvendor_id 7572\ngfx_target_version {version}\n"))
    assert accelerators(tmp_path)[0].target == target


@pytest.mark.parametrize(
    ("location", "domain", "address"),
    [(0x0700, 0, "0000:07:00.0"), (0xAF0A, 1, "0001:af:01.2"), (0, 0, "0000:00:00.0")],
)
def test_addresses(tmp_path, location, domain, address) -> None:
    make(tmp_path, _node(f"simd_count 1\nlocation_id {location}\ndomain {domain}\n"))
    assert accelerators(tmp_path)[0].address == address


def test_a_node_that_says_little(tmp_path) -> None:
    make(tmp_path, {f"{_NODES}/3/properties": "simd_count 1\nvendor_id nonsense\n"})
    assert accelerators(tmp_path) == (DCU(vendor=0),)


def test_processors_compute_otherwise(tmp_path) -> None:
    make(tmp_path, _node("cpu_cores_count 32\nsimd_count 0\nvendor_id 7572\n", 0))
    assert accelerators(tmp_path) == ()
    assert has_topology(tmp_path)


def test_nodes_are_counted_by_number(tmp_path) -> None:
    for number in (10, 9, 1):
        make(tmp_path, _node(f"simd_count 1\ndrm_render_minor {number}\n", number))
    (tmp_path / _NODES / "notes").mkdir()
    assert [each.render for each in accelerators(tmp_path)] == [1, 9, 10]


@pytest.mark.parametrize("module", ["hycu", "hydcu"])
def test_the_drivers_version(tmp_path, module) -> None:
    assert (driver_version(tmp_path), has_driver(tmp_path)) == ("", False)
    make(tmp_path, {f"sys/module/{module}/version": "6.2.17a\n"})
    assert (driver_version(tmp_path), has_driver(tmp_path)) == ("6.2.17a", True)


def test_the_hook_reads_below_its_root(tmp_path) -> None:
    (nothing,) = plugin.sagellm_detect_devices({}, tmp_path)
    assert (nothing.id, nothing.state) == ("dcu", DeviceState.ABSENT)
    make(tmp_path, _node(_PROPERTIES) | {"dev/kfd": "", "dev/dri/renderD128": ""})
    # Usable or not: that is for the torch of this environment to say.
    (device,) = plugin.sagellm_detect_devices({}, tmp_path)
    assert (device.id, device.physical_id) == ("dcu:0", "0000:07:00.0")
    (hidden,) = plugin.sagellm_detect_devices({"HIP_VISIBLE_DEVICES": ""}, tmp_path)
    assert hidden.state is DeviceState.ABSENT
