"""The CPU as a torch device."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sagellm_torch import (
    Decoder,
    DecoderConfig,
    DenseLinear,
    DeviceAdapter,
    DeviceMemory,
    DTypeChoice,
    Linear,
    ResidualLinear,
    StepDecoder,
)
from sagellm_torch import __version__ as kit_version
from sagellm_torch.activations import ACTIVATIONS
from sagellm_torch.linear import ActivatedLinear, AddedLinear, EmbeddingTable, merge_biases
from sagellm_torch.quantization import RULES, QuantizationPlan, QuantizedWeight
from sagellm_torch.weights import DecoderWeights

from sagellm_core.contract import ConfigurationError, ModelDescription

from .coded_linear import CodedEmbedding, CodedLinear
from .footprint import WORTH_ROUNDING, bytes_per_weight, tied_copy_bytes
from .memory import read_memory
from .native.kernels import NativeKernels
from .packed import PackedCache, model_hash
from .packed.contents import weight_files
from .packed.layout import put_together, take_apart
from .packed_linear import PackedLinear, PackedResidualLinear, packing_available
from .processor import usable_threads
from .torch_threads import use_torch_threads

if TYPE_CHECKING:
    from sagellm_torch import Encoder, TokenStates

    from .native.linear import NativeLinear

_log = logging.getLogger("sagellm.cpu")
_ROOT = Path("/")
#: More are refused on machines with fewer processors: OpenMP's runtime ends the process where the
#: system does not give it the threads.
_MOST_THREADS = 256


class CPUAdapter(DeviceAdapter):
    """Computes in float32, with as many threads as the process may use.

    :param options: ``threads`` (1 to 256, or what the machine has); ``native`` (``auto``, ``wait``
        or ``off``: whether models are computed by kernels that are compiled on this machine, and
        whether loading waits for them); ``packed_cache`` (``auto`` or ``off``: whether packed
        weights are kept on disk).
    :param cache_dir: where compiled kernels are kept; ``None``: they are compiled each time.
    :raises ConfigurationError: an option is unknown, or has a value that it cannot have.
    """

    option_names = ("threads", "native", "packed_cache")
    quantizations = ("int8", "int4")
    encoder_quantizations = ("int8",)
    #: What a pass touches stays in the processor's caches. Measured on two cores of an AMD EPYC
    #: with a 22M-parameter encoder: 16,384 tokens a pass took 1.6 times as long.
    embedding_tokens = 1024

    def __init__(
        self, options: Mapping[str, Any] | None = None, cache_dir: Path | None = None
    ) -> None:
        super().__init__("cpu", options)
        self.threads = self._threads()
        use_torch_threads(self.threads)
        self._packing = packing_available()
        native = self._asked("native", "auto", "wait", "off")
        packed = self._asked("packed_cache", "auto", "off")
        self._kernels = None if native == "off" else NativeKernels(cache_dir, self.threads)
        if native == "wait":
            self.settle()
        self._packed = PackedCache(None if packed == "off" else cache_dir)

    def _asked(self, option: str, *choices: str) -> str:
        asked = self.options.get(option, "auto")
        if isinstance(asked, bool):  # what YAML makes of "off" and "on"
            return "auto" if asked else "off"
        if asked not in choices:
            known = ", ".join(repr(choice) for choice in choices[:-1])
            raise ConfigurationError(
                f"{option}={asked!r} is not valid.",
                hint=f"{option} is {known} or {choices[-1]!r}.",
            )
        return str(asked)

    def _threads(self) -> int:
        asked = self.options.get("threads")
        if asked is None:
            return usable_threads(_ROOT)
        most = max(_MOST_THREADS, os.cpu_count() or 1)
        if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= most:
            raise ConfigurationError(
                f"threads={asked!r} is not valid.", hint=f"threads is an integer from 1 to {most}."
            )
        usable = usable_threads(_ROOT)
        if asked > usable:
            _log.warning(
                "threads=%d is more than this process may use at once, %d: threads that wait for "
                "each other's turn make everything slower.",
                asked,
                usable,
            )
        return asked

    def memory(self) -> DeviceMemory | None:
        """What the machine has, or the control group allows."""
        found = read_memory(_ROOT)
        return None if found is None else DeviceMemory(found.total, found.available)

    def cache_budget(self, free: int, enough: int) -> int:
        """A quarter of what is available: other programs live in this memory too."""
        return min(free // 4, enough)

    def choose_dtype(self, asked: str, stored: torch.dtype | None) -> DTypeChoice:
        """Always float32: half precision is slower on most CPUs, and less exact."""
        if asked in ("auto", "float32"):
            return DTypeChoice(torch.float32)
        return DTypeChoice(torch.float32, f"The CPU computes in float32; {asked} was asked for.")

    def linear(
        self, weight: torch.Tensor, bias: torch.Tensor | None, *, shared: bool = False
    ) -> Linear:
        """Packed for oneDNN where it is there."""
        if not self._packs(weight.nbytes, shared=shared):
            return DenseLinear(weight, bias, shared=shared)
        return PackedLinear(weight, bias)

    def fusible_linear(
        self, weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor | None]
    ) -> Linear:
        """For the native kernels, once they are there; before that for oneDNN."""
        return self._native(weights, biases) or self.merged_linear(weights, biases)

    def _native(
        self, weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor | None]
    ) -> NativeLinear | None:
        if self._kernels is None:
            return None
        return self._kernels.linear(weights, merge_biases(biases))

    def quantized_linear(
        self,
        weights: Sequence[QuantizedWeight],
        biases: Sequence[torch.Tensor | None],
        *,
        exact: bool,
    ) -> Linear:
        """For the native kernels; before they are there, codes are widened in each call."""
        bias = merge_biases(biases)
        if self._kernels is not None:
            native = self._kernels.quantized_linear(weights, bias, exact=exact)
            if native is not None:
                return native
        if self._converts:
            return CodedLinear(weights, bias, exact=exact)
        return self.merged_linear([weight.dequantise() for weight in weights], biases)

    def tied_linear(
        self, weight: torch.Tensor | QuantizedWeight, *, exact: bool
    ) -> tuple[EmbeddingTable, Linear]:
        """One packed weight for both, once the native kernels are there."""
        if self._kernels is not None:
            native = self._kernels.tied_linear(weight, exact=exact)
            if native is not None:
                return native
        if isinstance(weight, QuantizedWeight) and self._converts:
            return CodedEmbedding(weight), CodedLinear([weight], None, exact=exact)
        return super().tied_linear(weight, exact=exact)

    @property
    def keeps_codes(self) -> bool:
        """Where the kernels are, or will be, that compute with them."""
        return self._converts

    @property
    def _converts(self) -> bool:
        """Whether the native kernels are there, or on their way."""
        return self._kernels is not None and self._kernels.problem is None

    def default_quantization(self, parameters: int) -> str:
        """8 bits where that is faster; small models are fast enough to be exact."""
        return "int8" if self._converts and parameters >= WORTH_ROUNDING else "none"

    def bytes_per_weight(self, dtype: torch.dtype, plan: QuantizationPlan, stored: str) -> float:
        """As codes, or packed for the native kernels once they are there."""
        ready = self._kernels is not None and self._kernels.pool is not None
        return bytes_per_weight(
            plan.name, stored, native=ready, codes=plan.takes_codes and self._converts
        )

    def restore_weights(
        self, description: ModelDescription, config: DecoderConfig, plan: QuantizationPlan
    ) -> DecoderWeights | None:
        """As they were packed before, for the same files, kernels and processor."""
        pool = None if self._kernels is None else self._kernels.pool
        key = self._packed_key(description, config, plan)
        if pool is None or key is None:
            return None
        found = self._packed.load(key)
        if found is None:
            return None
        told, tensors = found
        try:
            weights = put_together(told["fields"], tensors, config.num_layers, pool)
            plan.restore(told["plan"])
        except (KeyError, ValueError, TypeError):
            self._packed.discard(key)
            return None
        return weights

    def keep_weights(
        self,
        description: ModelDescription,
        config: DecoderConfig,
        plan: QuantizationPlan,
        weights: DecoderWeights,
    ) -> None:
        """On disk, once they are packed for the native kernels."""
        key = self._packed_key(description, config, plan)
        parts = None if key is None else take_apart(weights)
        if key is not None and parts is not None:
            fields, tensors = parts
            self._packed.save(key, {"fields": fields, "plan": plan.record()}, tensors)

    def _packed_key(
        self, description: ModelDescription, config: DecoderConfig, plan: QuantizationPlan
    ) -> str | None:
        pool = None if self._kernels is None else self._kernels.pool
        folder = self._packed.folder
        if pool is None or folder is None or description.path is None:
            return None
        if "-" not in pool.library.path.stem:  # it could not be kept, and has no name of its own
            return None
        try:
            contents = model_hash(weight_files(description.path), folder)
        except OSError:
            return None
        # The library's name has hashes of its sources, of the processor and of what was compiled.
        told = (
            contents,
            repr(config),
            plan.name,
            str(plan.keeps_codes),
            pool.library.path.stem,
            kit_version,
            str(RULES),
        )
        return hashlib.sha256("\0".join(told).encode()).hexdigest()[:32]

    def settle(self) -> bool:
        """Wait for the native kernels, without which weights of 16 bits take twice as much."""
        kernels = self._kernels
        return kernels is not None and kernels.pool is None and kernels.wait()

    @property
    def kernel_notes(self) -> Sequence[str]:
        """Whether the native kernels compute."""
        return () if self._kernels is None else (self._kernels.note(),)

    def fuse_decoder(self, decoder: Decoder) -> StepDecoder | None:
        """All of a step in one native call, as soon as there is a library."""
        return None if self._kernels is None else self._kernels.fuse(decoder)

    def fuse_encoder(self, encoder: Encoder) -> TokenStates | None:
        """All of a pass in one native call, as soon as there is a library."""
        return None if self._kernels is None else self._kernels.fuse_encoder(encoder)

    def activated_linear(
        self, weight: torch.Tensor, bias: torch.Tensor | None, activation: str
    ) -> Linear:
        """For the native kernels, once they are there; before that for oneDNN, fused."""
        native = self._native([weight], [bias])
        if native is not None:
            return ActivatedLinear(native, ACTIVATIONS[activation])
        if not self._packing:
            return super().activated_linear(weight, bias, activation)
        return PackedLinear(weight, bias, activation=activation)

    def residual_linear(self, weight: torch.Tensor, bias: torch.Tensor | None) -> ResidualLinear:
        """For the native kernels, once they are there; before that for oneDNN, fused."""
        native = self._native([weight], [bias])
        if native is not None:
            return AddedLinear(native)
        if not self._packing:
            return super().residual_linear(weight, bias)
        return PackedResidualLinear(weight, bias)

    def argmax(self, logits: torch.Tensor) -> torch.Tensor:
        """By NumPy, which has vector instructions for it: 10 times as fast as torch's."""
        return torch.from_numpy(logits.numpy().argmax(-1))

    def padded_tokens(self, count: int) -> int:
        """Up to 1/16 more: oneDNN takes 1 to 3 ms to make a kernel for a new number of rows.

        16 numbers in each power of two are few enough for all of them to stay in its cache.
        """
        if not self._packing:
            return count
        step = max(8, 1 << max(0, count.bit_length() - 5))
        return -(-count // step) * step

    def linear_copies(self, weight_bytes: int, *, shared: bool) -> int:
        """A packed copy of a tied output layer stands beside the embedding, but for native ones."""
        if self._kernels is not None and self._kernels.pool is not None:
            return 0
        return tied_copy_bytes(weight_bytes) if shared and self._packing else 0

    def _packs(self, weight_bytes: int, *, shared: bool) -> bool:
        return self._packing and (not shared or tied_copy_bytes(weight_bytes) > 0)
