"""Token vectors of an encoder, by whatever computes it by now."""

from __future__ import annotations

import torch

from sagellm_torch.model import EncoderModel

from .pack import Pack


class EncoderStates:
    """Asks a model for its encoder before every pass: a device may exchange it."""

    def __init__(self, model: EncoderModel) -> None:
        self._model = model

    def hidden_states(self, pack: Pack, rows: torch.Tensor | None) -> torch.Tensor:
        """Token vectors of the last layer, [T, hidden].

        :param rows: rows of ``T`` that are wanted; ``None``: all.
        :raises EngineClosedError: the model was closed.
        """
        return self._model.encoder.hidden_states(pack, rows)

    def close(self) -> None:
        """Let go of what was kept between passes. May be called twice."""
        self._model.let_go()
