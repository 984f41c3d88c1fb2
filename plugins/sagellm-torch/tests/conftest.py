"""Tiny random models, and a driver that runs sequences through a runner as an engine would."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from sagellm_torch import DeviceAdapter, TorchModel, TorchRunner, load_model, open_runner

from sagellm_core.contract import (
    DecodeRow,
    LoadOptions,
    PrefillRow,
    RunnerConfig,
    SamplingParams,
    SlotStart,
)
from sagellm_core.models import describe

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 199,
    "max_position_embeddings": 512,
    # Large weights keep the logits of a random model well apart, so that greedy choices do
    # not hang on rounding.
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}


@dataclass
class TinyModel:
    """A model on disk and the same model in transformers."""

    path: Path
    reference: Any

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """What transformers generates."""
        ids = torch.tensor([list(prompt)])
        with torch.inference_mode():
            out = self.reference.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=count,
            )
        return out[0, len(prompt) :].tolist()

    def logits(self, tokens: Sequence[int]) -> torch.Tensor:
        """[len(tokens), vocab]."""
        with torch.inference_mode():
            return self.reference(torch.tensor([list(tokens)])).logits[0]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TinyModel]:
    """Make (once) a tiny random model of a family: ``tiny_model("llama", attention_bias=True)``."""
    made: dict[str, TinyModel] = {}

    def make(model_type: str, *, shard: str | None = None, **changes: Any) -> TinyModel:
        key = repr((model_type, shard, sorted(changes.items(), key=str)))
        if key not in made:
            made[key] = _make(tmp_path_factory.mktemp(model_type), model_type, shard, changes)
        return made[key]

    return make


@pytest.fixture(scope="session")
def tiny_sizes() -> dict[str, Any]:
    return SIZES


@pytest.fixture(scope="session")
def as_tiny_model() -> type[TinyModel]:
    return TinyModel


def _make(path: Path, model_type: str, shard: str | None, changes: dict[str, Any]) -> TinyModel:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(11)
    config = AutoConfig.for_model(model_type, **{**SIZES, **changes})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        # Norms and biases begin as constants, which would hide a mix-up.
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=0.0 if "bias" in name else 0.7, std=0.2)
    # Generation ends by count alone: suppressing an end token would change what is greedy.
    model.generation_config.eos_token_id = None
    model.save_pretrained(path, **({"max_shard_size": shard} if shard else {}))
    return TinyModel(path, model)


class PlainAdapter(DeviceAdapter):
    """The kit's own operators, on the CPU."""

    def __init__(self) -> None:
        super().__init__("cpu")


@pytest.fixture(scope="session")
def plain_adapter() -> type[PlainAdapter]:
    return PlainAdapter


@dataclass
class ReplayingRecorder:
    """Replays a recording by computing it again, over the same memory as a device graph would.

    ``room``: for so many recordings. ``trouble``: what recording raises.
    """

    left: int = 100
    trouble: Exception | None = None
    replayed: int = 0

    @property
    def room(self) -> bool:
        return self.left > 0

    def record(self, compute: Callable[[], None]) -> Recording:
        compute()
        if self.trouble is not None:
            raise self.trouble
        self.left -= 1
        return Recording(compute, self)


@dataclass
class Recording:
    compute: Callable[[], None]
    recorder: ReplayingRecorder

    def replay(self) -> None:
        self.recorder.replayed += 1
        self.compute()


@pytest.fixture(scope="session")
def replaying_recorder() -> type[ReplayingRecorder]:
    return ReplayingRecorder


@pytest.fixture(scope="session")
def load() -> Callable[[Path], TorchModel]:
    """Load a model in float32."""

    def load(path: Path, adapter: DeviceAdapter | None = None) -> TorchModel:
        return load_model(describe(path), adapter or PlainAdapter(), LoadOptions(dtype="float32"))

    return load


@dataclass
class Sequence_:
    """A sequence under way."""

    slot: int
    tokens: list[int]
    prompt_len: int
    sampling: SamplingParams
    blocks: list[int] = field(default_factory=list)
    done: int = 0

    @property
    def output(self) -> list[int]:
        return self.tokens[self.prompt_len :]


class Driver:
    """Gives slots and scattered blocks to sequences and steps them through a runner."""

    def __init__(self, runner: TorchRunner, *, scattered: bool = True, seed: int = 0) -> None:
        self.runner = runner
        self.block_size = runner.capacity.block_size
        self.free = list(range(runner.capacity.num_blocks))
        if scattered:
            random.Random(seed).shuffle(self.free)
        self.slots = list(range(runner.max_slots))

    def start(
        self, prompt: Sequence[int], sampling: SamplingParams | None = None, resumed: int = 0
    ) -> Sequence_:
        """A sequence; the last ``resumed`` tokens of ``prompt`` are output already."""
        sampling = sampling or SamplingParams(temperature=0, seed=0)
        return Sequence_(self.slots.pop(0), list(prompt), len(prompt) - resumed, sampling)

    def finish(self, sequence: Sequence_) -> None:
        self.slots.append(sequence.slot)
        self.free.extend(sequence.blocks)

    def _grow(self, sequence: Sequence_, length: int) -> tuple[int, ...]:
        needed = -(-length // self.block_size) - len(sequence.blocks)
        new = tuple(self.free.pop(0) for _ in range(max(0, needed)))
        sequence.blocks.extend(new)
        return new

    def chunk(self, sequence: Sequence_, size: int | None = None) -> PrefillRow:
        """The next chunk of a sequence's prompt."""
        end = (
            len(sequence.tokens)
            if size is None
            else min(len(sequence.tokens), sequence.done + size)
        )
        start, sequence.done = sequence.done, end
        return PrefillRow(
            slot=sequence.slot,
            token_ids=sequence.tokens[start:end],
            start=start,
            new_blocks=self._grow(sequence, end),
            begin=SlotStart(sampling=sequence.sampling, prompt_len=sequence.prompt_len)
            if start == 0
            else None,
            sample=end == len(sequence.tokens),
        )

    def prefill(self, sequences: Sequence[Sequence_], size: int | None = None) -> None:
        """One prefill call with a chunk of each."""
        rows = [self.chunk(sequence, size) for sequence in sequences]
        for sequence, token in zip(
            sequences, self.runner.prefill(rows).result().token_ids, strict=True
        ):
            if token >= 0:
                sequence.tokens.append(token)

    def decode(self, sequences: Sequence[Sequence_]) -> None:
        """One decode call."""
        rows = []
        for sequence in sequences:
            sequence.done += 1
            rows.append(DecodeRow(sequence.slot, self._grow(sequence, sequence.done)))
        for sequence, token in zip(
            sequences, self.runner.decode(rows).result().token_ids, strict=True
        ):
            sequence.tokens.append(token)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        count: int,
        *,
        chunk: int | None = None,
        sampling: Sequence[SamplingParams] | None = None,
    ) -> list[list[int]]:
        """Run prompts together; those whose prompt is done decode while others prefill."""
        sequences = [
            self.start(prompt, sampling[i] if sampling else None)
            for i, prompt in enumerate(prompts)
        ]
        while True:
            waiting = [s for s in sequences if s.done < s.prompt_len]
            running = [s for s in sequences if s not in waiting and len(s.output) < count]
            if not waiting and not running:
                break
            if running:
                self.decode(running)
            if waiting:
                self.prefill(waiting, chunk)
        for sequence in sequences:
            self.finish(sequence)
        return [sequence.output for sequence in sequences]


@pytest.fixture
def drive() -> Iterator[Callable[..., Driver]]:
    """Open a runner over a model, with a driver."""
    drivers: list[Driver] = []

    def open_driver(model: TorchModel, *, scattered: bool = True, **config: Any) -> Driver:
        settings = {"max_slots": 8, "max_model_len": 512, "num_blocks": None, **config}
        if settings["num_blocks"] is None:
            size = settings.get("block_size", 16)
            settings["num_blocks"] = settings["max_slots"] * -(-settings["max_model_len"] // size)
        driver = Driver(open_runner(model, RunnerConfig(**settings)), scattered=scattered)
        drivers.append(driver)
        return driver

    yield open_driver
    for driver in drivers:
        driver.runner.close()


@pytest.fixture(scope="session")
def prompts() -> Callable[..., list[list[int]]]:
    """Random token ids: ``prompts([5, 40])``."""

    def make(lengths: Sequence[int], vocab: int = 199, seed: int = 3) -> list[list[int]]:
        rng = random.Random(seed)
        return [[rng.randrange(3, vocab) for _ in range(length)] for length in lengths]

    return make
