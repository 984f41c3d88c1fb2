"""A device that computes decoders and encoders in its own way, as soon as it can."""

from __future__ import annotations

import gc
import weakref

import pytest
from sagellm_torch import Decoder, DeviceAdapter, Encoder, load_model, open_embedder
from transformers import BertConfig, BertModel

from sagellm_core.contract import EmbedderConfig, EngineClosedError, LoadOptions
from sagellm_core.models import describe


class _Fused:
    """Passes on to the decoder that it stands for, and remembers what it was asked."""

    has_head = True

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.config = decoder.config
        self.calls: list[str] = []

    def decode(self, step, cache):
        self.calls.append("decode")
        return self._decoder.decode(step, cache)

    def prefill(self, step, cache):
        self.calls.append("prefill")
        return self._decoder.prefill(step, cache)

    def hidden_states(self, step, cache):
        self.calls.append("hidden_states")
        return self._decoder.hidden_states(step, cache)


@pytest.fixture
def fusing_adapter(plain_adapter):
    """An adapter that is ready when it has been asked ``after`` times."""

    class FusingAdapter(plain_adapter):
        def __init__(self, after: int) -> None:
            super().__init__()
            self.asked = 0
            self.after = after

        def fuse_decoder(self, decoder):
            self.asked += 1
            return _Fused(decoder) if self.asked > self.after else None

    return FusingAdapter


def test_a_runner_switches_between_two_steps(
    tiny_model, load, drive, prompts, fusing_adapter
) -> None:
    tiny = tiny_model("llama")
    adapter = fusing_adapter(after=5)
    model = load(tiny.path, adapter)
    (prompt,) = prompts([9])
    assert drive(model).generate([prompt], 8) == [tiny.greedy(prompt, 8)]
    # Opening asks, too. The prefill and three decode steps by itself, four by the other.
    assert model.decoder.calls == ["decode"] * 4
    assert adapter.asked == 6


def test_open_runners_and_embedders_follow(
    tiny_model, load, drive, prompts, fusing_adapter
) -> None:
    tiny = tiny_model("llama")
    adapter = fusing_adapter(after=1000)
    model = load(tiny.path, adapter)
    one, two = drive(model), drive(model, block_size=4)
    embedder = open_embedder(model, EmbedderConfig())
    (prompt,) = prompts([9])
    before = embedder.embed([prompt], normalize=True)
    adapter.after = 0
    assert one.generate([prompt], 2) == two.generate([prompt], 2) == [tiny.greedy(prompt, 2)]
    after = embedder.embed([prompt], normalize=True)
    assert model.decoder.calls == ["prefill", "decode"] * 2 + ["hidden_states"]
    assert (before[0] == after[0]).all()


def test_a_closed_model_lets_go_of_it(tiny_model, load, drive, prompts, fusing_adapter) -> None:
    model = load(tiny_model("llama").path, fusing_adapter(after=0))
    runner = drive(model)
    runner.generate(prompts([5]), 2)
    fused = weakref.ref(model.decoder)
    model.close()
    gc.collect()
    assert fused() is None
    with pytest.raises(EngineClosedError):
        runner.generate(prompts([5]), 2)


class _FusedEncoder:
    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.passes = 0

    def hidden_states(self, pack, rows):
        self.passes += 1
        return self._encoder.hidden_states(pack, rows)

    def close(self):
        self._encoder.close()


class _FusingEncoders(DeviceAdapter):
    ready = False

    def fuse_encoder(self, encoder):
        return _FusedEncoder(encoder) if self.ready else None


def test_an_embedder_switches_between_two_passes(tmp_path) -> None:
    config = BertConfig(
        vocab_size=99,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=40,
    )
    BertModel(config).save_pretrained(tmp_path)
    adapter = _FusingEncoders("cpu")
    model = load_model(describe(tmp_path), adapter, LoadOptions())
    embedder = open_embedder(model, EmbedderConfig())
    batch = [[5, 6, 7], [9]]
    before = embedder.embed(batch, normalize=True)
    assert isinstance(model.encoder, Encoder)
    adapter.ready = True
    assert (embedder.embed(batch, normalize=True) == before).all()
    assert model.encoder.passes == 1
    fused = weakref.ref(model.encoder)
    model.close()
    gc.collect()
    assert fused() is None
    with pytest.raises(EngineClosedError):
        embedder.embed(batch, normalize=True)
    embedder.close()
    embedder.close()
