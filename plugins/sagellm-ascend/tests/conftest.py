"""Made machines, tiny models, and what steps a runner over them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sagellm_ascend.detection import detect
from sagellm_torch.testing.fixtures import sim  # noqa: F401  (a fixture)

from sagellm_core.contract import (
    DecodeRow,
    DeviceInfo,
    ModelDescription,
    PrefillRow,
    Runner,
    SamplingParams,
    SlotStart,
)
from sagellm_core.models import describe
from sagellm_core.testing.reference.decoder import ReferenceDecoder
from sagellm_core.testing.tiny.family import FAMILIES
from sagellm_core.testing.tiny.files import write_model
from sagellm_core.testing.tiny.weights import random_weights

_SHARED = ("davinci_manager", "devmm_svm", "hisi_hdc")
_INFO = """package_name=Ascend-cann-toolkit
version={version}
innerversion=V100R001C23SPC001B231
arch=aarch64
os=linux
path={home}/aarch64-linux
"""
_VERSION_CFG = """# version: 1.0
runtime_running_version=[7.6.0.1.220:{version}]
compiler_running_version=[7.6.0.1.220:{version}]
"""


@dataclass
class Machine:
    """A file system with NPUs, CANN and Python packages as they lie on real machines.

    Its parts return it, so that a test reads as a description.
    """

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)

    def write(self, path: str, text: str = "") -> Path:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def nodes(self, *numbers: int, shared: Sequence[str] = _SHARED) -> Machine:
        for name in (*(f"davinci{number}" for number in numbers), *shared):
            self.write(f"dev/{name}")
        return self

    def pci(
        self, address: str, device: int = 0xD802, vendor: int = 0x19E5, kind: int = 0x120000
    ) -> Machine:
        for name, number in (("vendor", vendor), ("device", device), ("class", kind)):
            self.write(f"sys/bus/pci/devices/{address}/{name}", f"0x{number:04x}\n")
        return self

    def table(self, address: str, text: str) -> Machine:
        self.write(f"sys/bus/pci/devices/{address}/devdrv_sysfs_bdf_to_devid", text)
        return self

    def driver(self, version: str = "25.0.rc1") -> Machine:
        text = f"Version={version}\nascendhal_version=7.35.23\npackage_version={version}\n"
        self.write("usr/local/Ascend/driver/version.info", text)
        return self

    def cann(
        self,
        version: str = "8.5.0",
        home: str = "/usr/local/Ascend/cann",
        *,
        info: bool = True,
        script: str | None = None,
    ) -> Machine:
        if info:
            text = _INFO.format(version=version, home=home)
            self.write(f"{home}/aarch64-linux/ascend_toolkit_install.info", text)
        else:
            self.write(f"{home}/version.cfg", _VERSION_CFG.format(version=version))
        self.write(f"{home}/lib64/libascendcl.so")
        self.write(f"{home}/opp/version.info")
        self.write(script or f"{home}/set_env.sh")
        return self

    def sourced(self, home: str = "/usr/local/Ascend/cann") -> Machine:
        """What set_env.sh leaves in the environment."""
        self.env |= {
            "ASCEND_HOME_PATH": home,
            "ASCEND_TOOLKIT_HOME": home,
            "ASCEND_OPP_PATH": f"{home}/opp",
            "LD_LIBRARY_PATH": f"{home}/lib64:{home}/lib64/plugin:",
        }
        return self

    def torch(self, version: str = "2.9.0+cpu", **toolkits: str) -> Machine:
        lines = [f"__version__ = {version!r}", "debug = False", "cuda: str | None = None"]
        lines += [f"{name}: str | None = {number!r}" for name, number in toolkits.items()]
        self.write("packages/torch/__init__.py", "raise AssertionError('it was imported')\n")
        self.write("packages/torch/version.py", "\n".join(lines))
        return self

    def torch_npu(self, version: str = "2.9.0") -> Machine:
        name = f"packages/torch_npu-{version}.dist-info/METADATA"
        self.write(name, f"Metadata-Version: 2.1\nName: torch_npu\nVersion: {version}\n")
        return self

    @property
    def packages(self) -> list[str]:
        return [str(self.root / "packages")]

    def ready(self, *numbers: int) -> Machine:
        """All that an NPU needs."""
        return self.nodes(*numbers).driver().cann().sourced().torch().torch_npu()

    def detect(self) -> list[DeviceInfo]:
        return detect(
            self.env,
            self.root,
            search_path=self.packages,
            access=lambda path: str(path.relative_to(self.root)) not in self.denied,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[], Machine]:
    """Make a machine without anything: ``machine().nodes(0)``."""
    made = 0

    def make() -> Machine:
        nonlocal made
        made += 1
        root = tmp_path / f"machine{made}"
        root.mkdir()
        return Machine(root)

    return make


@dataclass(frozen=True)
class Tiny:
    """A tiny random model of a real family on disk, and what computes it in float64."""

    description: ModelDescription
    reference: ReferenceDecoder

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(self.reference.logits(tokens)[-1].argmax()))
        return tokens[len(prompt) :]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Tiny]:
    """Make (once) a tiny model: ``tiny("mistral", head_dim=64)``."""
    made: dict[str, Tiny] = {}

    def make(name: str, **changes: Any) -> Tiny:
        key = repr((name, sorted(changes.items(), key=str)))
        if key not in made:
            family = FAMILIES[name]
            tensors = random_weights(family, changes)
            place = tmp_path_factory.mktemp(name) / "model"
            write_model(place, family, tensors, **changes)
            description = describe(str(place), allow_download=False)
            reference = ReferenceDecoder({**family.config, **changes}, tensors)
            made[key] = Tiny(description, reference)
        return made[key]

    return make


class Driver:
    """Gives slots and scattered blocks to sequences, and steps them through a runner."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._size = runner.capacity.block_size
        self._free = list(range(runner.capacity.num_blocks))
        random.Random(0).shuffle(self._free)

    def generate(
        self, prompts: Sequence[Sequence[int]], count: int, *, chunk: int = 10_000
    ) -> list[list[int]]:
        """Greedy tokens of prompts together: who is done with its prompt decodes beside others."""
        held: list[list[int]] = [[] for _ in prompts]
        done = [0] * len(prompts)
        out: list[list[int]] = [[] for _ in prompts]

        def grow(slot: int, length: int) -> tuple[int, ...]:
            missing = -(-length // self._size) - len(held[slot])
            new = tuple(self._free.pop() for _ in range(max(0, missing)))
            held[slot].extend(new)
            return new

        while any(len(tokens) < count for tokens in out):
            running = [i for i, tokens in enumerate(out) if tokens and len(tokens) < count]
            waiting = [i for i, prompt in enumerate(prompts) if done[i] < len(prompt)]
            if running:
                for i in running:
                    done[i] += 1
                rows = [DecodeRow(i, grow(i, done[i])) for i in running]
                sampled = self.runner.decode(rows).result().token_ids
                for i, token in zip(running, sampled, strict=True):
                    out[i].append(token)
            if waiting:
                chunks = [self._chunk(prompts[i], i, done[i], chunk, grow) for i in waiting]
                sampled = self.runner.prefill(chunks).result().token_ids
                for i, row, token in zip(waiting, chunks, sampled, strict=True):
                    done[i] += len(row.token_ids)
                    if token >= 0:
                        out[i].append(token)
        for blocks in held:
            self._free.extend(blocks)
        return out

    def _chunk(
        self,
        prompt: Sequence[int],
        slot: int,
        start: int,
        size: int,
        grow: Callable[[int, int], tuple[int, ...]],
    ) -> PrefillRow:
        end = min(len(prompt), start + size)
        sampling = SamplingParams(temperature=0, seed=0)
        return PrefillRow(
            slot=slot,
            token_ids=prompt[start:end],
            start=start,
            new_blocks=grow(slot, end),
            begin=None if start else SlotStart(sampling=sampling, prompt_len=len(prompt)),
            sample=end == len(prompt),
        )


@pytest.fixture(scope="session")
def driver_type() -> type[Driver]:
    return Driver


@pytest.fixture
def drive() -> Iterator[Callable[[Runner], Driver]]:
    """A driver of a runner, which is closed in the end."""
    drivers: list[Driver] = []

    def make(runner: Runner) -> Driver:
        drivers.append(Driver(runner))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.runner.close()


@pytest.fixture(scope="session")
def prompts() -> Callable[[Sequence[int]], list[list[int]]]:
    """Random tokens: ``prompts([5, 40])``."""

    def make(lengths: Sequence[int]) -> list[list[int]]:
        draw = random.Random(7)
        return [[draw.randrange(3, 259) for _ in range(length)] for length in lengths]

    return make
