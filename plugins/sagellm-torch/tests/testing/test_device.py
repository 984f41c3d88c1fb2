"""What the device counts, refuses and breaks."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from sagellm_torch.testing import DeviceFailedError, NotOnDeviceError


def test_operators_are_counted_by_name(sim) -> None:
    with torch.inference_mode():
        x = torch.ones(4, 4, device="sim")
        with sim.watch() as seen:
            y = x @ x + x
            y.t()[1:].mul_(2)
            torch.nn.functional.linear(x, x)
    assert seen.operators == {"matmul": 1, "add": 1, "mul_": 1, "linear": 1}
    assert seen.views == {"t": 1, "slice": 1}
    assert sim.observed.operators["matmul"] == 1
    with sim.watch() as later:
        pass
    assert not later.operators


def test_copies_are_counted_with_their_bytes_and_places(sim) -> None:
    host = torch.ones(6)
    with sim.watch() as seen:
        there = host.to("sim", non_blocking=True)
        torch.tensor([1.0, 2.0], device="sim")
        there.tolist()
        there[0].item()
        there.to(torch.float16).cpu()
        host.copy_(there)
        host.copy_(there, non_blocking=True)
        there.copy_(host)
        there.to(dtype=torch.int64)
    assert (seen.host_to_device.count, seen.host_to_device.nbytes) == (3, 24 + 8 + 24)
    assert (seen.device_to_host.count, seen.device_to_host.nbytes) == (5, 24 + 4 + 12 + 24 + 24)
    assert [c.operator for c in seen.reads()] == ["copy_to_host", "item", *["copy_to_host"] * 3]
    assert (seen.host_to_device.waits, seen.device_to_host.waits) == (2, 4)
    assert len(seen.waits) == 6
    assert all(
        c.place.endswith("in test_copies_are_counted_with_their_bytes_and_places")
        for c in seen.copies
    )
    assert str(seen.copies[0]).startswith("copy_to_device of 24 bytes, ")
    assert ", waited for, " in str(seen.copies[1])
    assert (sim.observed.host_to_device.count, sim.observed.copies) == (3, [])


@pytest.mark.parametrize(
    ("look", "operator"),
    [
        (lambda x: x[x > 2], "index"),
        (lambda x: x.__setitem__(x > 2, x[2:] + 1), "index_put_"),
        (lambda x: (x > 2).nonzero(), "nonzero"),
        (lambda x: torch.where(x > 2), "nonzero"),
        (lambda x: x.masked_select(x > 2), "masked_select"),
        (lambda x: torch.equal(x, x), "equal"),
        (lambda x: x.unique(), "_unique2"),
        (lambda x: torch.repeat_interleave(x, x.long()), "repeat_interleave"),
        (lambda x: bool(x.sum()), "item"),
        (lambda x: int(x[0]), "item"),
    ],
)
def test_shapes_that_depend_on_values_make_the_host_wait(sim, look, operator) -> None:
    x = torch.tensor([1.0, 2.0, 3.0], device="sim")
    with sim.watch() as seen:
        look(x)
    assert [copy.operator for copy in seen.waits] == [operator]


def test_a_size_that_was_said_beforehand_costs_nothing(sim) -> None:
    x = torch.tensor([1.0, 2.0, 3.0], device="sim")
    times = x.long()
    with sim.watch() as seen:
        assert torch.repeat_interleave(x, times, output_size=6).shape == (6,)
        x.masked_fill(x > 2, 0.0)
    assert not seen.copies


def test_indices_of_the_host_are_copied(sim) -> None:
    x = torch.tensor([1.0, 2.0, 3.0], device="sim")
    with sim.watch() as seen:
        assert x[torch.tensor([2, 0])].tolist() == [3, 1]
        x[[0, 1]] = 0
    assert seen.host_to_device.waits >= 2
    there = torch.tensor([2, 0], device="sim")
    with sim.watch() as seen:
        x[there] = x[there] + 1
    assert not seen.copies


def test_a_forbidden_operator_names_itself_and_who_asked(sim) -> None:
    sim.forbidden_operators = {"nonzero", "item", "view_as_complex"}
    x = torch.ones(2, 2, device="sim")
    for asked in (lambda: x.nonzero(), lambda: torch.where(x > 0)):
        with pytest.raises(NotOnDeviceError, match=r"sim:0 has no operator 'nonzero' \(.*test_dev"):
            asked()
    with pytest.raises(NotOnDeviceError, match="'item'"):
        bool(x.sum())
    with pytest.raises(NotOnDeviceError, match="'view_as_complex'"):
        torch.view_as_complex(x)
    assert isinstance(NotOnDeviceError("x"), NotImplementedError)
    (x + 1).tolist()
    sim.reset()
    x.nonzero()


def test_a_forbidden_type_names_the_operator_and_who_asked(sim) -> None:
    with pytest.raises(NotOnDeviceError, match=r"no type float64: 'copy_to_device' .*test_dev"):
        torch.ones(2, dtype=torch.float64).to("sim")
    x = torch.ones(2, device="sim")
    sim.forbidden_dtypes = {"bfloat16", torch.complex64}
    assert x.double().dtype is torch.float64
    for asked in (lambda: x.bfloat16(), lambda: torch.zeros(1, dtype=torch.bfloat16, device="sim")):
        with pytest.raises(NotOnDeviceError, match="has no type bfloat16"):
            asked()
    with pytest.raises(NotOnDeviceError, match="has no type complex64"):
        torch.view_as_complex(x)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sim: setattr(sim, "forbidden_operators", {"nonzer"}), "Did you mean 'nonzero'"),
        (lambda sim: setattr(sim, "forbidden_dtypes", {"float65"}), "no type 'float65'"),
        (lambda sim: setattr(sim, "forbidden_dtypes", {"nn"}), "no type 'nn'"),
        (lambda sim: sim.fail_next("fire"), "no fault 'fire'; there are: out_of_memory"),
        (lambda sim: sim.fail_next("error", after=-1), "after=-1"),
        (lambda sim: sim.fail_next("error", at="mmm"), "no operator 'mmm'"),
    ],
)
def test_settings_that_cannot_be(sim, change, words) -> None:
    with pytest.raises(ValueError, match=words):
        change(sim)


def test_memory_is_counted_once_for_all_who_look_into_it(sim) -> None:
    gc.collect()
    before = sim.memory.allocated
    x = torch.zeros(1000, device="sim")
    view = x.view(10, 100)[3:]
    assert sim.memory.allocated == before + 4000
    assert (sim.memory.free, sim.memory.total) == (2**30 - before - 4000, 2**30)
    del x
    assert sim.memory.allocated == before + 4000
    y = view + 1
    assert sim.memory.allocated == before + 4000 + 2800
    assert y.add_(1) is y
    del view, y
    gc.collect()
    assert sim.memory.allocated == before
    assert sim.memory.peak == before + 6800


def test_the_peak_of_a_watch_is_its_own(sim) -> None:
    before = sim.memory.allocated
    torch.zeros(10_000, device="sim")
    with sim.watch() as seen:
        torch.zeros(1000, device="sim")
    assert seen.peak == before + 4000


def test_more_than_there_is_does_not_fit(sim) -> None:
    sim.memory.total = sim.memory.allocated + 10_000
    kept = [torch.zeros(2000, device="sim")]
    for asked in (
        lambda: torch.empty(1000, device="sim"),
        lambda: torch.zeros(1000).to("sim"),
        lambda: kept[0] + 1,
        lambda: torch.empty(2**50, device="sim"),
    ):
        with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
            asked()
    torch.zeros(400, device="sim")
    kept.clear()
    torch.zeros(2000, device="sim")


def test_faults_strike_where_they_are_asked_for(sim) -> None:
    x = torch.ones(2, 2, device="sim")
    sim.fail_next("out_of_memory", after=2)
    x.add_(1)
    x.t()  # a view is no operator
    x.add_(1)
    with pytest.raises(torch.OutOfMemoryError, match=r"in 'mul' \(.*test_device"):
        x * 2
    x * 2
    sim.fail_next("error", at="mm", after=1)
    x + x
    torch.mm(x, x)
    with pytest.raises(DeviceFailedError, match="'mm'"):
        torch.mm(x, x)
    torch.mm(x, x)
    assert not sim.lost


def test_a_device_that_was_lost_stays_lost(sim) -> None:
    x = torch.ones(2, 2, device="sim")
    sim.fail_next("device_lost", at="copy_to_host")
    y = x + 1
    for asked in (y.tolist, lambda: x + 1, lambda: x.t(), lambda: torch.zeros(2, device="sim")):
        with pytest.raises(torch.AcceleratorError, match="sim:0 was lost, as asked for, in 'copy"):
            asked()
    with pytest.raises(torch.AcceleratorError):
        torch.sim.synchronize()
    assert sim.lost
    before = sim.memory.allocated
    del y
    assert sim.memory.allocated < before
    sim.reset()
    assert (x + 1).tolist() == [[2, 2], [2, 2]]


def test_threads_count_on_one_device(sim) -> None:
    before = sim.memory.allocated

    def work() -> None:
        x = torch.ones(8, device="sim")
        for _ in range(200):
            x = x + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sim.memory.allocated == before
    assert sim.observed.operators["add"] == 800
