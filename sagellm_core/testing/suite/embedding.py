"""Groups ``contract`` and ``numeric``: texts to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sagellm_core.contract.embedder import Embedder
from sagellm_core.contract.errors import ConfigurationError, PromptTooLongError
from sagellm_core.contract.plugin import Capability
from sagellm_core.testing.finding import fail, require, skip
from sagellm_core.testing.marks import group, needs, proves
from sagellm_core.testing.reference.tolerance import Tolerance, tolerance_of
from sagellm_core.testing.refusing import refuses
from sagellm_core.testing.tiny.model import ANY_MODEL, TinyModel
from sagellm_core.testing.workbench import Workbench

from .loading import closes_again

_TEXTS = ("A", "two words", "Grüße aus Köln!", "x" * 40, "a text of some length, to pad others")
#: Lengths of inputs in tokens, out of order.
_LENGTHS = (3, 29, 1, 17, 8, 29)

Vectors = NDArray[np.float32]


def embedded(
    embedder: Embedder, batch: Sequence[Sequence[int]], *, normalize: bool = False
) -> Vectors:
    """What ``embed`` returns, checked and copied."""
    raw: Any = embedder.embed(batch, normalize=normalize)
    try:
        view = memoryview(raw)
    except TypeError:
        fail(f"embed returned a {type(raw).__name__}, which has no buffer of memory.")
    require(view.format == "f", f"embed returned values of format {view.format!r}, not float32.")
    shape = (len(batch), embedder.dimension)
    require(view.shape == shape, f"embed returned the shape {view.shape}, not {shape}.")
    require(view.c_contiguous, "embed returned memory that is not C-contiguous.")
    vectors = np.array(view, dtype=np.float32)
    require(np.isfinite(vectors).all(), "embed returned infinity or NaN.")
    return vectors


@pytest.fixture
def one_encoder(bench: Workbench, conformance_state: Any) -> str:
    """The first model with which the plugin embeds."""
    for name in conformance_state.embedders:
        if bench.can(name, Capability.EMBED):
            return str(name)
    return skip("The plugin can embed with none of the suite's models.")


@group("contract")
@needs(Capability.EMBED)
class TestEmbedder:
    """``sagellm_open_embedder`` and what it opens."""

    def test_it_says_what_it_is(self, bench: Workbench, one_encoder: str) -> None:
        """The values of an Embedder, beyond their types, which core has checked."""
        with bench.embedder(one_encoder) as embedder:
            require(embedder.dimension >= 1, f"dimension is {embedder.dimension}.")
            require(embedder.max_length >= 1, f"max_length is {embedder.max_length}.")
            known = ("mean", "last", "cls", "max")
            require(
                embedder.pooling in known,
                f"pooling is {embedder.pooling!r}, not one of {', '.join(known)}.",
            )

    def test_texts_are_encoded_and_cut(self, bench: Workbench, one_encoder: str) -> None:
        """Token ids in order, at most ``max_length`` of them, and the lengths before the cut."""
        with bench.embedder(one_encoder) as embedder:
            whole = embedder.encode(_TEXTS)
            require(
                len(whole.token_ids) == len(whole.lengths) == len(_TEXTS),
                f"encode returned {len(whole.token_ids)} lists and {len(whole.lengths)} lengths "
                f"for {len(_TEXTS)} texts.",
            )
            longest = max(whole.lengths)
        limit = longest // 2
        with bench.embedder(one_encoder, max_length=limit) as embedder:
            require(
                embedder.max_length == limit,
                f"max_length={limit} was asked for, and it is {embedder.max_length}.",
            )
            cut = embedder.encode(_TEXTS)
        require(
            list(cut.lengths) == list(whole.lengths),
            f"The lengths before the cut are {list(cut.lengths)} with a limit, and "
            f"{list(whole.lengths)} without.",
        )
        for tokens, length in zip(cut.token_ids, cut.lengths, strict=True):
            require(
                len(tokens) == min(length, limit),
                f"A text of {length} tokens was cut to {len(tokens)}; max_length is {limit}.",
            )

    def test_an_unknown_pooling_is_refused(self, bench: Workbench, one_encoder: str) -> None:
        """What nobody can compute."""
        with (
            refuses("An unknown pooling", ConfigurationError),
            bench.embedder(one_encoder, pooling="median"),
        ):
            pass

    def test_a_limit_beyond_the_models_is_refused(self, bench: Workbench, one_encoder: str) -> None:
        """``max_length`` above what the model was made for."""
        with bench.embedder(one_encoder) as embedder:
            longest = embedder.max_length
        with (
            refuses("A max_length beyond the model's", ConfigurationError),
            bench.embedder(one_encoder, max_length=longest + 1),
        ):
            pass

    def test_an_input_too_long_is_refused(self, bench: Workbench, one_encoder: str) -> None:
        """More tokens than ``max_length``."""
        with (
            bench.embedder(one_encoder, max_length=8) as embedder,
            refuses("An input longer than max_length", PromptTooLongError),
        ):
            embedder.embed([[5] * 9], normalize=False)

    def test_embedders_close_twice(self, bench: Workbench, one_encoder: str) -> None:
        """``Embedder.close`` may be called twice, and leaves the model open."""
        with bench.embedder(one_encoder) as embedder:
            embedder.close()
            closes_again(embedder.close, "Embedder.close")
        with bench.embedder(one_encoder) as another:
            embedded(another, [[5, 6]])

    def test_two_embedders_at_once(self, bench: Workbench, one_encoder: str) -> None:
        """They do not disturb each other."""
        inputs = _inputs(bench.tiny(one_encoder))
        with bench.embedder(one_encoder) as first, bench.embedder(one_encoder) as second:
            one = embedded(first, inputs)
            embedded(second, inputs[::-1])
            _check_near(one, embedded(first, inputs), _tolerance(bench, one_encoder), "Asked twice")


@group("numeric")
@needs(Capability.EMBED)
class TestVectors:
    """One case a family of models."""

    @proves(Capability.EMBED)
    def test_vectors_equal_the_reference(self, bench: Workbench, encoder: str) -> None:
        """Before normalisation, in direction and in length."""
        tiny = _with_embedder(bench, encoder)
        if encoder == ANY_MODEL:
            skip("The plugin needs no model files: without weights there is no reference.")
        inputs = _inputs(tiny)
        with bench.embedder(encoder) as embedder:
            vectors, pooling = embedded(embedder, inputs), embedder.pooling
        wanted = np.stack([tiny.vector(tuple(tokens), pooling) for tokens in inputs])
        _check_near(
            wanted, vectors, _tolerance(bench, encoder), f"Beside the reference ({pooling})"
        )

    def test_normalised_vectors_have_length_1(self, bench: Workbench, encoder: str) -> None:
        """``normalize`` scales, and does nothing else."""
        inputs = _inputs(_with_embedder(bench, encoder))
        with bench.embedder(encoder) as embedder:
            plain, scaled = (
                embedded(embedder, inputs, normalize=normalize) for normalize in (False, True)
            )
        lengths = np.linalg.norm(scaled, axis=1)
        require(
            np.abs(lengths - 1.0).max() < 0.01,
            f"normalize=True gives vectors of length {lengths.min():.4f} to {lengths.max():.4f}.",
        )
        unit = plain / np.linalg.norm(plain, axis=1, keepdims=True)
        _check_near(unit, scaled, _tolerance(bench, encoder), "With normalize=True")

    @proves(unweighted=(Capability.EMBED, Capability.ANY_MODEL))
    def test_padding_changes_nothing(self, bench: Workbench, encoder: str) -> None:
        """A text beside longer ones has the vector that it has alone."""
        inputs = _inputs(_with_embedder(bench, encoder))
        with bench.embedder(encoder) as embedder:
            together = embedded(embedder, inputs)
            alone = np.concatenate([embedded(embedder, [tokens]) for tokens in inputs])
        _check_near(alone, together, _tolerance(bench, encoder), "In a batch")

    def test_order_changes_nothing(self, bench: Workbench, encoder: str) -> None:
        """The vectors come in the order of the texts, whatever that is."""
        inputs = _inputs(_with_embedder(bench, encoder))
        order = np.random.RandomState(3).permutation(len(inputs))
        with bench.embedder(encoder) as embedder:
            plain = embedded(embedder, inputs)
            shuffled = embedded(embedder, [inputs[place] for place in order])
        _check_near(plain[order], shuffled, _tolerance(bench, encoder), "In another order")


def _with_embedder(bench: Workbench, encoder: str) -> TinyModel:
    tiny = bench.tiny(encoder)
    if not bench.can(encoder, Capability.EMBED):
        skip(f"The plugin does not embed with {encoder}.")
    return tiny


def _inputs(tiny: TinyModel) -> list[tuple[int, ...]]:
    return [tiny.prompt(length, seed=number) for number, length in enumerate(_LENGTHS)]


def _tolerance(bench: Workbench, encoder: str) -> Tolerance:
    model = bench.exact(encoder, Capability.EMBED)
    if encoder == ANY_MODEL:
        return tolerance_of("float32", "none")
    return tolerance_of(model.dtype, model.quantization)


def _check_near(wanted: NDArray[Any], found: NDArray[Any], limit: Tolerance, how: str) -> None:
    """Each vector points where it should, and is as long."""
    for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
        lengths = np.linalg.norm(one), np.linalg.norm(other)
        cosine = float(one @ other / max(lengths[0] * lengths[1], 1e-30))
        if not cosine >= limit.cosine:
            fail(
                f"{how}, the vector of input {number} ({_LENGTHS[number]} tokens) has a cosine of "
                f"{cosine:.6f} with what it should be; at least {limit.cosine:g} is allowed."
            )
        # A cosine of c is an angle whose sine, the relative error, is about sqrt(2 * (1 - c)).
        if abs(lengths[0] - lengths[1]) > lengths[0] * (2 * (1 - limit.cosine)) ** 0.5:
            fail(
                f"{how}, the vector of input {number} has the length {lengths[1]:.6g}, and should "
                f"have {lengths[0]:.6g}."
            )
