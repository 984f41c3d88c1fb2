"""The engine over kernels, recorded steps and results on a stream: all of it together."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from sagellm_torch import open_runner
from sagellm_torch.recorded import RecordedDecode
from sagellm_torch.streams import StreamAdapter
from sagellm_torch.triton import TritonAdapter

from sagellm_core.contract import EngineConfig, SamplingParams
from sagellm_core.engine import EngineClient, LLMEngine
from sagellm_core.engine.limits import runner_config

pytestmark = pytest.mark.usefixtures("interpreted")


class _Adapter(TritonAdapter, StreamAdapter):
    """On the CPU, whose streams torch has for code that is written for devices with some."""

    pins_memory = False

    def __init__(self, tiles, recorder) -> None:
        super().__init__("cpu", {}, tiles)
        self._recorder = recorder
        self.queued = 0
        #: How many steps were queued behind each one when it was read.
        self.behind: list[int] = []

    @property
    def queues_ahead(self) -> bool:
        return True

    @property
    def module(self) -> SimpleNamespace:
        return SimpleNamespace(
            Stream=lambda device: SimpleNamespace(wait_stream=lambda other: None),
            Event=lambda: SimpleNamespace(record=lambda: None, synchronize=lambda: None),
            current_stream=lambda device: None,
            stream=lambda stream: nullcontext(),
            device=lambda device: nullcontext(),
            mem_get_info=lambda device: (1 << 30, 1 << 30),
            memory_reserved=lambda device: 0,
            memory_allocated=lambda device: 0,
            synchronize=lambda device: None,
            empty_cache=lambda: None,
        )

    def recorder(self):
        return self._recorder

    def download(self, tensors):
        # What a stream would hold on to is no matter on the CPU.
        self.queued += 1
        number = self.queued
        wait = super().download([_OnAStream.of(tensor) for tensor in tensors])

        def noted():
            self.behind.append(self.queued - number)
            return wait()

        return noted


class _OnAStream(torch.Tensor):
    @classmethod
    def of(cls, tensor: torch.Tensor) -> _OnAStream:
        return tensor.as_subclass(cls)

    def record_stream(self, stream) -> None:
        return


def test_answers_are_those_of_transformers(
    tiny_model, load, prompts, tile_table, replaying_recorder
) -> None:
    tiny = tiny_model("llama", num_hidden_layers=1)
    recorder = replaying_recorder()
    adapter = _Adapter(tile_table(programs=8), recorder)
    model = load(tiny.path, adapter)
    assert isinstance(model.adapter.capture_decode(None, None, 1), RecordedDecode)
    config = EngineConfig(
        max_model_len=128, max_num_seqs=3, max_prefill_tokens=16, block_size=8, num_blocks=48
    )
    runner = open_runner(model, runner_config(model, config))
    batch = prompts([5, 30, 17, 9])
    with LLMEngine(model, runner, config, own_model=False) as engine:
        sampling = SamplingParams(temperature=0, max_tokens=6, ignore_eos=True)
        done = EngineClient(engine).generate(batch, sampling)
    assert [list(one.token_ids) for one in done] == [tiny.greedy(p, 6) for p in batch]
    assert recorder.replayed
    # The next step was there before the last one was read, but where nothing was left to compute.
    assert max(adapter.behind) >= 1
    assert sum(behind >= 1 for behind in adapter.behind) > len(adapter.behind) / 2
    assert model.notes == ()
