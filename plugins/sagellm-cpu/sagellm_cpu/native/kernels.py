"""What a model on the CPU knows of the native library: whether it is there, and what it makes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

import torch
from sagellm_torch import Decoder, Linear
from sagellm_torch.linear import EmbeddingTable
from sagellm_torch.quantization import QuantizedWeight

from .build import native_build
from .conversion import Conversion, NativeEmbedding
from .decoder import NativeDecoder
from .library import LibraryError, NativePool
from .linear import NativeLinear
from .weight import narrowest, pack_codes, pack_dense

if TYPE_CHECKING:
    from sagellm_torch import Encoder, TokenStates

_log = logging.getLogger("sagellm.cpu")


class NativeKernels:
    """The library, from now or from later on.

    :param directory: of the cache; ``None``: nothing is kept.
    :param threads: that compute.
    """

    def __init__(self, directory: Path | None, threads: int) -> None:
        self._threads = threads
        self._build = native_build(directory, threads)
        self._problem: str | None = None
        #: Encoders that could not be converted.
        self._left: WeakSet[Encoder] = WeakSet()
        self._conversions: WeakKeyDictionary[Decoder, Conversion] = WeakKeyDictionary()

    @property
    def pool(self) -> NativePool | None:
        """The threads of the library; ``None``: it is not there, or not yet."""
        library = self._build.library
        if library is None or self._problem is not None:
            return None
        try:
            return library.pool(self._threads)
        except LibraryError as error:
            self._problem = str(error)
            _log.warning(
                "The fast kernels are not used: %s. Torch's operators go on computing.",
                error,
            )
            return None

    @property
    def problem(self) -> str | None:
        """Why there will be none, in a sentence."""
        return self._problem or self._build.problem

    def wait(self) -> bool:
        """Wait until it is decided; whether there is a library."""
        return self._build.wait() and self.pool is not None

    def note(self) -> str:
        """What computes models now, in one sentence."""
        if self.problem is not None:
            return f"Computed by torch's operators: {self.problem}."
        library = self._build.library
        if library is None:
            return "Computed by torch's operators until the native kernels are compiled."
        return f"Computed by native kernels ({library.instructions})."

    def linear(
        self, weights: Sequence[torch.Tensor], bias: torch.Tensor | None
    ) -> NativeLinear | None:
        """Layers over one input as one; ``None`` while there is no library."""
        pool = self.pool
        if pool is None:
            return None
        return NativeLinear(pack_dense(pool.library, narrowest(weights), bias), pool)

    def quantized_linear(
        self, weights: Sequence[QuantizedWeight], bias: torch.Tensor | None, *, exact: bool
    ) -> NativeLinear | None:
        """Layers of few bits as one; ``None`` while there is no library."""
        pool = self.pool
        if pool is None:
            return None
        return NativeLinear(pack_codes(pool.library, weights, bias, exact=exact), pool)

    def tied_linear(
        self, weight: torch.Tensor | QuantizedWeight, *, exact: bool
    ) -> tuple[EmbeddingTable, Linear] | None:
        """Embedding and output layer over one packed weight."""
        if isinstance(weight, QuantizedWeight):
            head = self.quantized_linear([weight], None, exact=exact)
        else:
            head = self.linear([weight], None)
        return None if head is None else (NativeEmbedding(head.weight), head)

    def fuse(self, decoder: Decoder) -> NativeDecoder | None:
        """The native decoder, when it is ready; asked before every step."""
        conversion = self._conversions.get(decoder)
        if conversion is None:
            pool = self.pool
            if pool is None:
                return None
            conversion = self._conversions[decoder] = Conversion(decoder, pool)
        return conversion.decoder()

    def fuse_encoder(self, encoder: Encoder) -> TokenStates | None:
        """The native encoder, when its layers are; asked before every pass."""
        from .encoder import native_encoder  # what only embeds needs is imported then

        pool = self.pool
        if pool is None or encoder in self._left:
            return None
        try:
            return native_encoder(encoder, pool)
        except Exception as error:
            # Layers that were exchanged compute like those that were not.
            self._left.add(encoder)
            _log.warning(
                "The native encoder is not used: its weights were not converted: %s. Torch's "
                "operators go on computing.",
                error,
            )
            return None
