"""Tensors on the simulated device: the CPU's numbers, a device's manners."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytestmark = pytest.mark.usefixtures("sim")


@pytest.fixture(params=[torch.no_grad, torch.inference_mode], ids=["no_grad", "inference"])
def mode(request):
    with request.param():
        yield


def _both(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(3))
    return x, x.to("sim")


def test_the_numbers_are_the_cpus(mode) -> None:
    x, y = _both(4, 6, 8)
    weight, there = _both(5, 8)
    norm, norm_there = _both(8)
    pairs = [
        (x * 2 + x.sum(-1, keepdim=True), y * 2 + y.sum(-1, keepdim=True)),
        (F.linear(x, weight), F.linear(y, there)),
        (torch.softmax(x, -1), torch.softmax(y, -1)),
        (F.rms_norm(x, (8,), norm, 1e-6), F.rms_norm(y, (8,), norm_there, 1e-6)),
        (F.layer_norm(x, (8,), norm, norm), F.layer_norm(y, (8,), norm_there, norm_there)),
        (x.topk(3).values, y.topk(3).values),
        (x.transpose(0, 2)[1:, ::2].reshape(-1), y.transpose(0, 2)[1:, ::2].reshape(-1)),
        (torch.cat(x.chunk(3, 1)[:2], 2), torch.cat(y.chunk(3, 1)[:2], 2)),
        (torch.view_as_real(torch.view_as_complex(x.view(4, 6, 4, 2)) ** 2),
         torch.view_as_real(torch.view_as_complex(y.view(4, 6, 4, 2)) ** 2)),
    ]  # fmt: skip
    for cpu, sim in pairs:
        assert sim.device == torch.device("sim", 0)
        assert sim.stride() == cpu.stride()
        # Outside inference mode torch takes linear and norms apart before a device sees them.
        torch.testing.assert_close(sim.cpu(), cpu)


def test_attention_is_the_cpus_bit_for_bit() -> None:
    with torch.inference_mode():
        x, _ = _both(1, 2, 6, 8)
        for half in (x.float(), x.bfloat16()):
            cpu = F.scaled_dot_product_attention(half, half, half, is_causal=True)
            there = half.to("sim")
            sim = F.scaled_dot_product_attention(there, there, there, is_causal=True)
            assert torch.equal(sim.cpu(), cpu)


def test_views_look_into_the_same_memory(mode) -> None:
    x, y = _both(4, 6)
    for tensor in (x, y):
        column = tensor[:, 2]
        column.fill_(7)
        tensor.view(-1)[3:5].copy_(column[:2] + 1)
        tensor[1, 1:3] = tensor[2, 3:5]
        tensor.t()[0].index_fill_(0, torch.tensor([3], device=tensor.device), -1)
    assert torch.equal(y.cpu(), x)


def test_in_place_gives_the_very_tensor_back(mode) -> None:
    _, y = _both(4)
    assert y.add_(1) is y
    out = torch.empty(4, device="sim")
    assert torch.mul(y, 2, out=out) is out
    assert torch.equal(out.cpu(), y.cpu() * 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda device: torch.arange(2, 9, device=device),
        lambda device: torch.arange(5, device=device, dtype=torch.int32),
        lambda device: torch.zeros(2, 3, device=device),
        lambda device: torch.ones(2, dtype=torch.bool, device=device),
        lambda device: torch.full((3,), 1.5, device=device),
        lambda device: torch.eye(3, device=device),
        lambda device: torch.linspace(0, 1, 5, device=device),
        lambda device: torch.tensor([[1, 2], [3, 4]], device=device),
        lambda device: torch.tensor(2.5, device=device),
        lambda device: torch.ones(2, device=device).new_tensor([3.0, 4.0]),
        lambda device: torch.ones(2, device=device).new_full((2, 2), 6.0),
        lambda device: torch.zeros_like(torch.ones(2, 2, device=device), dtype=torch.int8),
        lambda device: torch.ones(3, 3, device=device).tril(),
    ],
)
def test_factories(mode, make) -> None:
    there, here = make("sim"), make("cpu")
    assert there.device.type == "sim"
    assert there.dtype == here.dtype
    assert torch.equal(there.cpu(), here)


def test_the_host_can_look(mode) -> None:
    _, y = _both(2, 3)
    assert y.tolist() == y.cpu().tolist()
    assert y[0, 1].item() == y.cpu()[0, 1].item()
    assert float(y[0, 1]) == y[0, 1].item()
    assert bool((y == y).all())
    assert f"{y[0, 1]:.2f}" == f"{y[0, 1].item():.2f}"
    assert torch.equal(y, y.clone())
    with pytest.raises(TypeError, match=r"can't convert sim:0 device type tensor to numpy"):
        y.numpy()
    assert y.numpy(force=True).tolist() == y.tolist()


def test_tensors_of_two_devices_do_not_mix(mode) -> None:
    x, y = _both(3)
    for wrong in (
        lambda: x + y,
        lambda: y.copy_(x).add_(x),
        lambda: F.embedding(torch.tensor([0, 1]), y.view(3, 1)),
        lambda: x.index_select(0, torch.tensor([0], device="sim")),
        lambda: torch.cat([x, y]),
    ):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            wrong()
    # A number of the host is an argument of the kernel, as torch has it for every device.
    assert torch.equal((y * torch.tensor(2.0)).cpu(), x * 2)


def test_a_tensor_does_not_change_its_shape(mode) -> None:
    y = torch.empty(0, device="sim")
    with pytest.raises(NotImplementedError, match="does not change the shape"):
        torch.add(torch.ones(3, device="sim"), 1, out=y)
    with pytest.raises(NotImplementedError, match="does not change the shape"):
        torch.ones(1, 3, device="sim").squeeze_(0)


def test_modules_move() -> None:
    net = nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 8), nn.LayerNorm(8)).eval()
    tokens = torch.tensor([3, 1, 4])
    expected = net(tokens)
    there = copy.deepcopy(net).to("sim")
    assert {parameter.device.type for parameter in there.parameters()} == {"sim"}
    torch.testing.assert_close(there(tokens.to("sim")).cpu(), expected)
    assert torch.equal(copy.deepcopy(there)[0].weight.cpu(), net[0].weight)


def test_a_tensor_shows_itself_and_cannot_be_pickled(sim) -> None:
    y = torch.ones(2, device="sim")
    with sim.watch() as seen:
        assert repr(y) == "tensor([1., 1.]) on sim:0"
    assert not seen.operators
    with pytest.raises(TypeError, match="copy it to the host"):
        pickle.dumps(y)


def test_memory_that_was_never_written_is_dirty(sim) -> None:
    assert torch.empty(3, device="sim").isnan().all()
    assert torch.empty(3, dtype=torch.int64, device="sim").tolist() == [-(2**63)] * 3
    assert torch.zeros(3, device="sim").tolist() == [0, 0, 0]
    sim.dirty_memory = False
    assert torch.empty(3, dtype=torch.bool, device="sim").shape == (3,)


def test_torch_knows_the_device() -> None:
    assert torch.sim.device_count() == 1
    assert torch.sim.is_available()
    free, total = torch.sim.mem_get_info()
    kept = torch.ones(1000, device="sim")
    assert torch.sim.mem_get_info() == (free - kept.nbytes, total)
    torch.sim.synchronize()
    assert torch.tensor([1.0]).sim().is_sim
