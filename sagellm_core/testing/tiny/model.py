"""A tiny model: its files, its description, and the reference that computes it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from sagellm_core.contract.model import ModelDescription, ModelFormat
from sagellm_core.contract.sampling import SamplingParams
from sagellm_core.models import describe
from sagellm_core.testing.reference.decoder import ReferenceDecoder
from sagellm_core.testing.reference.encoder import ReferenceEncoder, pooled
from sagellm_core.testing.reference.layers import Array, log_softmax
from sagellm_core.testing.reference.sampling import penalised

from .family import FAMILIES
from .files import write_model
from .weights import random_weights

#: Stands for the model of a plugin that needs no model files.
ANY_MODEL = "any_model"


class TinyModel:
    """One family's tiny model.

    :param name: a key of :data:`~.family.FAMILIES`, or :data:`ANY_MODEL`.
    :param place: directory to write it to, which does not exist yet.
    """

    def __init__(self, name: str, place: Path) -> None:
        self.name = name
        self.place = place
        if name == ANY_MODEL:
            self.description = ModelDescription(
                reference="conformance", format=ModelFormat.UNRESOLVED
            )
            return
        self._family = FAMILIES[name]
        self._tensors = random_weights(self._family)
        write_model(place, self._family, self._tensors)
        self.description = describe(str(place), allow_download=False)

    @property
    def has_reference(self) -> bool:
        """Whether there are weights, so that right and wrong can be told."""
        return self.name != ANY_MODEL

    def prompt(self, length: int, seed: int) -> tuple[int, ...]:
        """Random tokens that stand for bytes; for a model of the plugin's own, low ones."""
        end = 259 if self.has_reference else 128
        numbers = np.random.RandomState(seed).randint(3, end, size=length)
        return tuple(int(number) for number in numbers)

    def logits(self, token_ids: tuple[int, ...]) -> Array:
        """Logits after each token, of shape [len(token_ids), vocabulary]."""
        return self._decoder.logits(token_ids)

    def steps(
        self, prompt: tuple[int, ...], output: tuple[int, ...], sampling: SamplingParams
    ) -> Array:
        """Logits of each step of a generation, after bias and penalties.

        :returns: of shape [len(output), vocabulary]: row ``i`` chose ``output[i]``.
        """
        rows = self.logits(prompt + output[:-1])[len(prompt) - 1 :]
        return np.stack(
            [penalised(row, prompt, output[:step], sampling) for step, row in enumerate(rows)]
        )

    def logprobs(self, prompt: tuple[int, ...], output: tuple[int, ...]) -> Array:
        """The model's own log-probabilities of each step, of shape [len(output), vocabulary]."""
        return log_softmax(self.logits(prompt + output[:-1])[len(prompt) - 1 :])

    def vector(self, token_ids: tuple[int, ...], pooling: str) -> Array:
        """The embedding of a text, not normalised, of shape [hidden]."""
        states = self._encoder if self._family.is_encoder else self._decoder
        return pooled(states.hidden(token_ids), pooling)

    @cached_property
    def _decoder(self) -> ReferenceDecoder:
        return ReferenceDecoder(self._family.config, self._tensors)

    @cached_property
    def _encoder(self) -> ReferenceEncoder:
        return ReferenceEncoder(self._family.config, self._tensors)
