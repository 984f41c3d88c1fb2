"""Lack of memory, loss of the device and missing operators, from the runner up to the engine."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch
from sagellm_torch import DeviceAdapter, open_embedder, open_runner
from sagellm_torch.testing import DeviceFailedError, NotOnDeviceError, SimAdapter

from sagellm_core.contract import (
    DecodeRow,
    DeviceLostError,
    DeviceOutOfMemoryError,
    EmbedderConfig,
    EngineClosedError,
    EngineConfig,
    InsufficientMemoryError,
    RunnerConfig,
    RunnerError,
    SamplingParams,
)
from sagellm_core.engine import EngineClient, LLMEngine
from sagellm_core.engine.limits import runner_config

_SAMPLINGS = [
    SamplingParams(temperature=0, max_tokens=6, ignore_eos=True),
    SamplingParams(temperature=1.1, seed=3, top_p=0.9, max_tokens=6, ignore_eos=True),
    SamplingParams(temperature=0, repetition_penalty=1.3, max_tokens=6, ignore_eos=True),
]


@pytest.fixture(scope="module")
def path(tiny_model):
    return tiny_model("llama").path


@pytest.fixture
def engine(path, on_sim) -> Iterator[LLMEngine]:
    """An engine over the device, whose steps are queued ahead."""
    model = on_sim(path)
    config = EngineConfig(max_model_len=64, block_size=4, max_num_seqs=6, num_blocks=96)
    with LLMEngine(model, open_runner(model, runner_config(model, config)), config) as engine:
        yield engine


def _ask(engine: LLMEngine, batch) -> list[tuple[int, ...]]:
    sampling = [_SAMPLINGS[i % 3] for i in range(len(batch))]
    answers = EngineClient(engine).generate(batch, sampling, timeout=60)
    return [answer.token_ids for answer in answers]


@pytest.mark.parametrize(
    ("after", "at"), [(0, None), (40, None), (333, None), (2, "argmax"), (3, "copy_to_host")]
)
def test_the_engine_goes_on_after_a_step_that_did_not_fit(sim, engine, prompts, after, at) -> None:
    batch = prompts([5, 9, 14, 3, 20])
    expected = _ask(engine, batch)
    sim.fail_next("out_of_memory", after=after, at=at)
    assert _ask(engine, batch) == expected
    assert engine.stats().preemptions > 0


def test_memory_for_some_of_the_rows_is_enough(sim, engine, prompts) -> None:
    batch = prompts([30, 31, 33, 30, 35, 29])
    client = EngineClient(engine)
    expected = [a.token_ids for a in client.generate(batch, _SAMPLINGS[0], timeout=60)]
    with sim.watch() as alone:
        client.generate(batch[4], _SAMPLINGS[0], timeout=60)
    with sim.watch() as together:
        client.generate(batch, _SAMPLINGS[0], timeout=60)
    assert together.peak > alone.peak
    sim.memory.total = alone.peak + (together.peak - alone.peak) // 4
    # How many of them come together is the threads' to decide: once is enough.
    for _ in range(10):
        assert [a.token_ids for a in client.generate(batch, _SAMPLINGS[0], timeout=60)] == expected
        if engine.stats().preemptions:
            break
    assert engine.stats().preemptions > 0


def test_what_failed_holds_no_memory(sim, path, on_sim, drive, prompts) -> None:
    driver = drive(on_sim(path), block_size=64)
    sequences = [driver.start(prompt, _SAMPLINGS[0]) for prompt in prompts([30, 40])]
    driver.prefill(sequences)
    driver.decode(sequences)
    rows = [DecodeRow(sequence.slot) for sequence in sequences]
    gc.collect()
    gc.disable()
    try:
        before = sim.memory.allocated
        kept = []
        for after in (5, 25, 50):
            sim.fail_next("out_of_memory", after=after)
            with pytest.raises(DeviceOutOfMemoryError) as caught:
                driver.runner.decode(rows)
            kept.append(caught.value)
        assert sim.memory.allocated == before
    finally:
        gc.enable()


def test_a_request_for_which_there_is_no_memory_alone_ends(sim, engine, prompts) -> None:
    client = EngineClient(engine)
    expected = client.generate(prompts([9]), _SAMPLINGS[0], timeout=60)[0].token_ids
    sim.fail_next("out_of_memory", at="argmax", after=2)
    with pytest.raises(DeviceOutOfMemoryError, match="sim:0 is out of memory, as asked for"):
        client.generate(prompts([9]), _SAMPLINGS[0], timeout=60)
    assert client.generate(prompts([9]), _SAMPLINGS[0], timeout=60)[0].token_ids == expected


@pytest.mark.parametrize(("after", "at"), [(100, None), (3, "copy_to_host"), (1, "copy_to_device")])
def test_the_engine_closes_with_its_device(sim, engine, prompts, after, at) -> None:
    sim.fail_next("device_lost", after=after, at=at)
    client = EngineClient(engine)
    # Requests that are under way end with the loss; one that comes after it finds a closed engine.
    gone = "sim:0 is gone: sim:0 was lost"
    with pytest.raises((DeviceLostError, EngineClosedError), match=gone) as caught:
        client.generate(prompts([5, 9, 14]), _SAMPLINGS[1], timeout=60)
    lost = caught.value if isinstance(caught.value, DeviceLostError) else caught.value.__cause__
    assert isinstance(lost, DeviceLostError)
    assert isinstance(lost.__cause__, torch.AcceleratorError)
    assert lost.hint
    with pytest.raises(EngineClosedError, match="its device is gone"):
        client.generate(prompts([5]), _SAMPLINGS[0], timeout=60)


def test_memory_comes_back_from_a_device_that_was_lost(sim, path, on_sim, prompts, drive) -> None:
    gc.collect()
    before = sim.memory.allocated
    model = on_sim(path)
    driver = drive(model)
    sequence = driver.start(prompts([5])[0])
    driver.prefill([sequence])
    sim.fail_next("device_lost")
    with pytest.raises(DeviceLostError):
        driver.decode([sequence])
    driver.runner.close()
    model.close()
    gc.collect()
    assert sim.memory.allocated <= before


def test_a_kernel_that_failed_ends_its_requests_only(sim, engine, prompts) -> None:
    client = EngineClient(engine)
    expected = client.generate(prompts([9]), _SAMPLINGS[0], timeout=60)[0].token_ids
    sim.fail_next("error", at="linear", after=5)
    with pytest.raises(RunnerError, match="DeviceFailedError") as caught:
        client.generate(prompts([9]), _SAMPLINGS[0], timeout=60)
    assert isinstance(caught.value.__cause__, DeviceFailedError)
    assert not isinstance(caught.value, DeviceLostError)
    assert client.generate(prompts([9]), _SAMPLINGS[0], timeout=60)[0].token_ids == expected


def test_an_operator_that_is_missing_is_named_with_its_place(sim, engine, prompts) -> None:
    sim.forbidden_operators = {"scaled_dot_product_attention", "copy_to_host"}
    with pytest.raises(RunnerError) as caught:
        EngineClient(engine).generate(prompts([9]), _SAMPLINGS[0], timeout=60)
    words = r"sim:0 has no operator 'scaled_dot_product_attention' \(sagellm_torch\.attention:\d+"
    assert isinstance(caught.value.__cause__, NotOnDeviceError)
    with pytest.raises(NotOnDeviceError, match=words):
        raise caught.value.__cause__
    assert "sagellm_torch.attention" in str(caught.value)


def test_a_type_that_is_missing_is_named_with_its_place(sim, path, on_sim) -> None:
    sim.forbidden_dtypes = {"bfloat16"}
    words = r"no type bfloat16: 'copy_to_device' asks for it \(sagellm_torch\.tensor_reader:\d+"
    with pytest.raises(NotOnDeviceError, match=words):
        on_sim(path, dtype="bfloat16")
    on_sim(path, dtype="float16").close()


def test_steps_say_what_happened(sim, path, on_sim, drive, prompts) -> None:
    driver = drive(on_sim(path))
    sequence = driver.start(prompts([5])[0])
    sim.fail_next("out_of_memory", after=30)
    row = driver.chunk(sequence)
    with pytest.raises(DeviceOutOfMemoryError) as caught:
        driver.runner.prefill([row])
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    again = driver.start(sequence.tokens)
    driver.prefill([again])
    handle = driver.runner.decode([DecodeRow(again.slot)])
    sim.fail_next("out_of_memory", at="copy_to_host")
    with pytest.raises(DeviceOutOfMemoryError):
        handle.result()
    # Nothing was lost by it: the tokens are still there.
    assert len(handle.result().token_ids) == 1


def test_a_model_that_does_not_fit_is_refused(sim, path, on_sim) -> None:
    sim.memory.total = sim.memory.allocated + 100_000
    with sim.watch() as seen, pytest.raises(InsufficientMemoryError, match="are free"):
        on_sim(path)
    assert not seen.operators
    sim.reset()
    sim.fail_next("out_of_memory", after=9)
    with pytest.raises(InsufficientMemoryError, match="Memory ran out while loading") as caught:
        on_sim(path)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    sim.fail_next("device_lost", after=9)
    with pytest.raises(DeviceLostError):
        on_sim(path)


def test_a_cache_that_does_not_fit_is_refused(sim, path, on_sim) -> None:
    model = on_sim(path)
    config = RunnerConfig(max_slots=2, max_model_len=64, num_blocks=10_000)
    sim.memory.total = sim.memory.allocated + 100_000
    with pytest.raises(InsufficientMemoryError, match="are free"):
        open_runner(model, config)
    sim.reset()
    sim.fail_next("out_of_memory", at="empty")
    with pytest.raises(InsufficientMemoryError, match="while the KV cache was allocated"):
        open_runner(model, RunnerConfig(max_slots=2, max_model_len=64, num_blocks=8))
    open_runner(model, RunnerConfig(max_slots=2, max_model_len=64, num_blocks=8)).close()


def test_the_cache_takes_a_share_of_what_is_free(sim, path, on_sim) -> None:
    model = on_sim(path)
    sim.memory.total = sim.memory.allocated + 1_000_000
    runner = open_runner(model, RunnerConfig(max_slots=64, max_model_len=512))
    assert runner.capacity.num_blocks * runner.capacity.bytes_per_block <= 800_000
    assert 0 < sim.memory.free < 250_000
    runner.close()


@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_embedding(sim, on_sim, encoder_path, path, prompts, model_type) -> None:
    model = on_sim(path if model_type == "llama" else encoder_path(model_type))
    embedder = open_embedder(model, EmbedderConfig())
    batch = prompts([5, 9], vocab=190)
    expected = embedder.embed(batch, normalize=True)
    for after in (0, 20):
        sim.fail_next("out_of_memory", after=after)
        with pytest.raises(DeviceOutOfMemoryError):
            embedder.embed(batch, normalize=True)
    assert (embedder.embed(batch, normalize=True) == expected).all()
    sim.fail_next("device_lost", at="copy_to_host")
    with pytest.raises(DeviceLostError):
        embedder.embed(batch, normalize=True)
    embedder.close()


def test_an_adapter_knows_its_devices_own_words(sim, path, on_sim, drive, prompts) -> None:
    class Wording(SimAdapter):
        def is_lost(self, error: BaseException) -> bool:
            return isinstance(error, DeviceFailedError) and "'argmax'" in str(error)

        def is_out_of_memory(self, error: BaseException) -> bool:
            return isinstance(error, DeviceFailedError) and "'mul_'" in str(error)

    driver = drive(on_sim(path, Wording()))
    sequence = driver.start(prompts([5])[0])
    driver.prefill([sequence])
    for at, expected in (("mul_", DeviceOutOfMemoryError), ("linear", DeviceFailedError),
                         ("argmax", DeviceLostError)):  # fmt: skip
        sim.fail_next("error", at=at)
        with pytest.raises(expected):
            driver.runner.decode([DecodeRow(sequence.slot)])


@pytest.mark.parametrize("device", ["cpu", "sim:0"])
def test_a_device_that_answers_is_not_lost(sim, device) -> None:
    adapter = DeviceAdapter(device)
    assert not adapter.is_lost(RuntimeError("the kernel is broken"))
    sim.forbidden_operators = {"copy_to_host"}
    assert not adapter.is_lost(NotOnDeviceError("no such operator"))
    sim.reset()
    sim.memory.total = 0
    assert not adapter.is_lost(RuntimeError("the kernel is broken"))


def test_memory_is_given_back(sim, path, on_sim, encoder_path, prompts, drive) -> None:
    gc.collect()
    before = sim.memory.allocated
    model = on_sim(path)
    loaded = sim.memory.allocated
    # 3 layers, 2 * 199 * 64 of embeddings, in float32.
    assert loaded - before > 4 * (2 * 199 * 64 + 3 * 3 * 64 * 96)
    driver = drive(model)
    driver.generate(prompts([4, 9]), 5, sampling=_SAMPLINGS[1:])
    assert sim.memory.allocated > loaded
    driver.runner.close()
    gc.collect()
    assert sim.memory.allocated == loaded
    embedder = open_embedder(model, EmbedderConfig(pooling="mean"))
    embedder.embed(prompts([4, 9]), normalize=True)
    embedder.close()
    gc.collect()
    assert sim.memory.allocated == loaded
    model.close()
    encoder = on_sim(encoder_path("bert"))
    open_embedder(encoder, EmbedderConfig()).embed(prompts([4]), normalize=True)
    encoder.close()
    del encoder, embedder
    gc.collect()
    assert sim.memory.allocated == before
