"""The native encoder against the kit's, over random models and texts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sagellm_cpu.native.encoder import NativeEncoder, native_encoder
from sagellm_cpu.native.library import NativeLibrary
from sagellm_cpu.native.linear import NativeLinear
from sagellm_cpu.native.weight import pack_codes, pack_dense
from sagellm_cpu.packed_linear import PackedLinear, packing_available
from sagellm_torch import DenseLinear, DeviceAdapter, EncoderConfig
from sagellm_torch.activations import ACTIVATIONS
from sagellm_torch.embedding.encoder import Encoder
from sagellm_torch.embedding.encoder_weights import EncoderLayer, EncoderWeights, Norm
from sagellm_torch.embedding.pack import Pack, pack
from sagellm_torch.linear import ActivatedLinear, AddedLinear, Linear
from sagellm_torch.quantization import int8_group, quantise_int8

from sagellm_core.contract import RunnerError

_VOCAB, _POSITIONS = 97, 420


def _config(**parts) -> EncoderConfig:
    given = {
        "model_type": "bert",
        "vocab_size": _VOCAB,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_layers": 2,
        "num_heads": 3,
        "position_rows": _POSITIONS,
        "norm_eps": 1e-5,
    }
    return EncoderConfig(**{**given, **parts})


def _encoder(config: EncoderConfig, seed: int, linear) -> Encoder:
    """Layers are what ``linear`` makes of a weight and a bias."""
    made = torch.Generator().manual_seed(seed)
    hidden, inner = config.hidden_size, config.intermediate_size

    def layer(out: int, into: int) -> Linear:
        weight = torch.randn(out, into, generator=made) / into**0.5
        return linear(weight, torch.randn(out, generator=made) * 0.3)

    def norm() -> Norm:
        weight = torch.randn(hidden, generator=made) * 0.3 + 1
        return Norm(weight, torch.randn(hidden, generator=made) * 0.1)

    buckets = config.relative_buckets
    weights = EncoderWeights(
        words=torch.randn(config.vocab_size, hidden, generator=made),
        positions=torch.randn(config.position_rows, hidden, generator=made),
        norm=norm(),
        layers=[
            EncoderLayer(
                qkv=layer(3 * hidden, hidden),
                output=AddedLinear(layer(hidden, hidden)),
                attention_norm=norm(),
                up=ActivatedLinear(layer(inner, hidden), ACTIVATIONS[config.activation]),
                down=AddedLinear(layer(hidden, inner)),
                output_norm=norm(),
            )
            for _ in range(config.num_layers)
        ],
        relative=torch.randn(buckets, config.num_heads, generator=made) if buckets else None,
    )
    return Encoder(config, weights, DeviceAdapter("cpu"))


def _native(library: NativeLibrary, config: EncoderConfig, seed: int, threads: int = 2):
    pool = library.pool(threads)

    def linear(weight: torch.Tensor, bias: torch.Tensor) -> Linear:
        return NativeLinear(pack_dense(library, [weight], bias), pool)

    native = native_encoder(_encoder(config, seed, linear), pool)
    assert isinstance(native, NativeEncoder)
    return native


def _texts(lengths: list[int], seed: int) -> Pack:
    made = torch.Generator().manual_seed(seed)
    texts = [torch.randint(0, _VOCAB, (length,), generator=made).tolist() for length in lengths]
    return pack(sorted(texts, key=len, reverse=True), torch.device("cpu"))


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=5),
    heads=st.sampled_from((1, 3, 4)),
    width=st.sampled_from((1, 11, 16)),
    layers=st.sampled_from((1, 3)),
    activation=st.sampled_from(("gelu", "relu", "gelu_new")),
    family=st.sampled_from(
        ({}, {"first_position": 2, "pad_token_id": 1}, {"relative_buckets": 32})
    ),
    pooled=st.sampled_from(("all", "first", "none")),
    threads=st.sampled_from((1, 2, 5)),
    seed=st.integers(0, 99),
)
def test_random_encoders(
    loaded, lengths, heads, width, layers, activation, family, pooled, threads, seed
) -> None:
    config = _config(
        hidden_size=heads * width,
        num_heads=heads,
        num_layers=layers,
        activation=activation,
        **family,
    )
    texts = _texts(lengths, seed)
    picked = {"all": None, "first": texts.first_rows(), "none": texts.first_rows()[:0]}[pooled]
    rows = None if picked is None else texts.integers(picked)
    expected = _encoder(config, seed, DenseLinear).hidden_states(texts, rows)
    found = _native(loaded, config, seed, threads).hidden_states(texts, rows)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_a_text_is_the_same_beside_others(loaded) -> None:
    encoder = _native(loaded, _config(), 5)
    lengths = [300, 129, 64, 7, 7, 1]
    together = _texts(lengths, 3)
    whole = encoder.hidden_states(together, None)
    first = 0
    for length in lengths:
        ids = together.token_ids[first : first + length].tolist()
        alone = encoder.hidden_states(pack([ids], torch.device("cpu")), None)
        assert torch.equal(alone, whole[first : first + length])
        first += length
    for picked in (together.first_rows(), together.last_rows()):
        rows = together.integers(picked)
        assert torch.equal(encoder.hidden_states(together, rows), whole[rows])
    encoder.close()  # and goes on
    assert torch.equal(encoder.hidden_states(together, None), whole)
    for threads in (1, 3):
        assert torch.equal(
            _native(loaded, _config(), 5, threads).hidden_states(together, None), whole
        )


def test_codes_are_near_their_numbers(loaded) -> None:
    config, pool = _config(hidden_size=96, intermediate_size=192), loaded.pool(2)

    def linear(weight: torch.Tensor, bias: torch.Tensor) -> Linear:
        codes = quantise_int8(weight, int8_group(weight.shape[1]))
        return NativeLinear(pack_codes(loaded, [codes], bias, exact=False), pool)

    native = native_encoder(_encoder(config, 1, linear), pool)
    assert native is not None
    texts = _texts([200, 30, 1], 4)
    expected = _encoder(config, 1, DenseLinear).hidden_states(texts, None)
    found = native.hidden_states(texts, None)
    assert torch.cosine_similarity(found, expected).min() > 0.995
    assert not torch.equal(found, expected)


def test_tokens_and_rows_that_are_not_there_are_refused(loaded) -> None:
    encoder = _native(loaded, _config(), 5)
    texts = _texts([5, 2], 1)
    with pytest.raises(RunnerError, match="code"):
        encoder.hidden_states(texts, torch.tensor([0, 7]))
    texts.tokens[3] = _VOCAB
    with pytest.raises(RunnerError, match="code"):
        encoder.hidden_states(texts, None)


def test_layers_of_other_kinds_become_native_ones(loaded) -> None:
    class Pair:
        """A linear layer that is nobody's here."""

        nbytes = 0

        def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
            self.linear = DenseLinear(weight, bias)

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x)

    kinds = [DenseLinear]
    if packing_available():
        kinds.append(PackedLinear)
    texts = _texts([9, 3], 1)
    expected = _encoder(_config(), 1, DenseLinear).hidden_states(texts, None)
    for kind in kinds:
        encoder = _encoder(_config(), 1, kind)
        native = native_encoder(encoder, loaded.pool(1))
        assert native is not None
        assert all(isinstance(layer.qkv, NativeLinear) for layer in encoder.weights.layers)
        for computes in (native, encoder):
            found = computes.hidden_states(texts, None)
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
    assert native_encoder(_encoder(_config(), 1, Pair), loaded.pool(1)) is None
