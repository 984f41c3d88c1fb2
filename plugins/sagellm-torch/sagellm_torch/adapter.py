"""What a torch device has to say to become a provider.

Every method has a body in plain torch operators, which is right on any torch device; a vendor
overrides those that its device does better. The kit never asks which device it runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from sagellm_core.contract import ConfigurationError

from .activations import ACTIVATIONS
from .kv_cache import CacheShape, KVCache
from .linear import (
    ActivatedLinear,
    AddedLinear,
    DenseEmbedding,
    DenseLinear,
    EmbeddingTable,
    Linear,
    ResidualLinear,
    merge,
)
from .memory_errors import is_memory_error
from .operators import DeviceOperators
from .quantization import QuantizationPlan, QuantizedWeight
from .step import DecodeStep

if TYPE_CHECKING:
    from sagellm_core.contract import ModelDescription

    from .architecture import DecoderConfig
    from .decoder import Decoder, StepDecoder
    from .embedding.embedder import TokenStates
    from .embedding.encoder import Encoder
    from .weights import DecoderWeights

#: Names of the types that a user may ask for.
DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True, slots=True)
class DTypeChoice:
    """What a device computes in."""

    dtype: torch.dtype
    #: One sentence for the user when it is not what was asked for; else empty.
    note: str = ""


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes of a device's memory."""

    total: int
    free: int


class DeviceAdapter(DeviceOperators):
    """A torch device: memory, weights, and the operators of :class:`DeviceOperators`.

    :param device: as torch names it: ``cpu``, ``gpu:0``.
    :param options: the provider options that the user passed.
    :raises ConfigurationError: an option is unknown.
    """

    #: Provider options that this device knows, by name.
    option_names: Sequence[str] = ()
    #: What users may ask for by ``quantization``, beside ``none``: of ``int8`` and ``int4``.
    quantizations: Sequence[str] = ()
    #: The same for encoders, which only embed.
    encoder_quantizations: Sequence[str] = ()
    #: Tokens that go through the model in one pass of embedding; a longer text goes alone.
    embedding_tokens: int = 16_384

    def __init__(self, device: str, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(device)
        self.options = dict(options or {})
        for name in self.options:
            if name not in self.option_names:
                raise ConfigurationError(
                    f"The provider option {name!r} is unknown.", hint=self._option_hint(name)
                )

    def _option_hint(self, name: str) -> str:
        from difflib import get_close_matches

        close = get_close_matches(str(name), self.option_names, n=1)
        if close:
            return f"Did you mean {close[0]!r}?"
        if not self.option_names:
            return "This provider has no options."
        return f"This provider knows: {', '.join(sorted(self.option_names))}."

    # --- memory ------------------------------------------------------------------------

    def memory(self) -> DeviceMemory | None:
        """Total and free memory now, or ``None`` where the device cannot tell."""
        return None

    def cache_budget(self, free: int, enough: int) -> int:
        """Bytes of KV cache to allocate when the user did not say.

        :param free: bytes free now. ``enough``: what every slot at full length would take.
        """
        return min(free * 8 // 10, enough)

    def allocate_cache(self, shape: CacheShape) -> KVCache:
        """The KV cache. A device with another layout returns a subclass."""
        return KVCache(shape, self.device)

    # --- arithmetic --------------------------------------------------------------------

    def choose_dtype(self, asked: str, stored: torch.dtype | None) -> DTypeChoice:
        """What to compute in.

        :param asked: ``auto``, or a key of :data:`DTYPES`.
        :param stored: what the weights are stored in, if that is one of :data:`DTYPES`.
        """
        if asked != "auto":
            return DTypeChoice(DTYPES[asked])
        return DTypeChoice(stored or torch.float16)

    def linear(
        self, weight: torch.Tensor, bias: torch.Tensor | None, *, shared: bool = False
    ) -> Linear:
        """Prepare a linear layer.

        :param weight: [out, in], on the device.
        :param shared: the weight stays in memory for another use anyway (tied embeddings).
        """
        return DenseLinear(weight, bias, shared=shared)

    def merged_linear(
        self, weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor | None]
    ) -> Linear:
        """Prepare several layers over one input (q/k/v, gate/up) as one."""
        weight, bias = merge(weights, biases)
        return self.linear(weight, bias)

    def fusible_linear(
        self, weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor | None]
    ) -> Linear:
        """Prepare a layer, or several over one input as one, of a model that may be fused.

        Apart from :meth:`merged_linear` for devices with a :meth:`fuse_decoder` or
        :meth:`fuse_encoder`, which need weights in their own way.
        """
        return self.merged_linear(weights, biases)

    def quantized_linear(
        self,
        weights: Sequence[QuantizedWeight],
        biases: Sequence[torch.Tensor | None],
        *,
        exact: bool,
    ) -> Linear:
        """Prepare a decoder's layer of few bits, or several over one input as one.

        By default it keeps the numbers that the codes stand for, in float32.

        :param weights: of equal bits and groups, on the device.
        :param exact: inputs stay floats. Else the device may round them to int8, with a scale
            for each row or group.
        """
        return self.fusible_linear([weight.dequantise() for weight in weights], biases)

    def tied_linear(
        self, weight: torch.Tensor | QuantizedWeight, *, exact: bool
    ) -> tuple[EmbeddingTable, Linear]:
        """Prepare a weight, [vocab, hidden], that is both embedding and output layer.

        :param exact: as for :meth:`quantized_linear`.
        """
        table = weight.dequantise() if isinstance(weight, QuantizedWeight) else weight
        return DenseEmbedding(table), self.linear(table, None, shared=True)

    @property
    def keeps_codes(self) -> bool:
        """Whether weights that are stored as codes (GGUF) come to :meth:`quantized_linear` also
        under the quantization ``none``. Else they come as numbers."""
        return False

    def default_quantization(self, parameters: int) -> str:
        """What becomes of a decoder that generates when the user did not say: ``none``, or one
        that it has."""
        return "none"

    def bytes_per_weight(self, dtype: torch.dtype, plan: QuantizationPlan, stored: str) -> float:
        """How much memory a decoder's weights take, each.

        :param stored: the type that most of them have in the checkpoint, as ``BF16``.
        """
        return dtype.itemsize

    def restore_weights(
        self, description: ModelDescription, config: DecoderConfig, plan: QuantizationPlan
    ) -> DecoderWeights | None:
        """A decoder's weights as the device prepared them before, for example from a cache.

        Only for the same contents of the model's files; the plan is told what was done to them.
        ``None``: they are to be read.
        """
        return None

    def keep_weights(
        self,
        description: ModelDescription,
        config: DecoderConfig,
        plan: QuantizationPlan,
        weights: DecoderWeights,
    ) -> None:
        """Keep what was just read and prepared, for :meth:`restore_weights`."""

    def settle(self) -> bool:
        """Wait for whatever is on its way that makes models take less memory.

        Asked for only when a model does not fit as things are; whether anything has changed.
        """
        return False

    @property
    def kernel_notes(self) -> Sequence[str]:
        """Sentences for the user about what computes a model now."""
        return ()

    def activated_linear(
        self, weight: torch.Tensor, bias: torch.Tensor | None, activation: str
    ) -> Linear:
        """Prepare a linear layer with an activation after it.

        :param activation: a key of :data:`sagellm_torch.activations.ACTIVATIONS`.
        """
        return ActivatedLinear(self.fusible_linear([weight], [bias]), ACTIVATIONS[activation])

    def residual_linear(self, weight: torch.Tensor, bias: torch.Tensor | None) -> ResidualLinear:
        """Prepare a linear layer whose product is added to what is there already."""
        return AddedLinear(self.fusible_linear([weight], [bias]))

    def linear_copies(self, weight_bytes: int, *, shared: bool) -> int:
        """Bytes that :meth:`linear` keeps for a weight beyond the weight itself."""
        return 0

    def padded_tokens(self, count: int) -> int:
        """Tokens that an encoder's pass is filled up to, at least ``count``.

        For devices that prepare a kernel for each number of rows that they have not seen.
        """
        return count

    def fuse_decoder(self, decoder: Decoder) -> StepDecoder | None:
        """What computes this decoder's steps from now on; ``None``: it goes on itself.

        Asked before every step until there is something, so a device may answer later, once it has
        compiled what it needs, and sequences go on under it: the KV cache stays as it is. It has to
        answer at once.
        """
        return None

    def fuse_encoder(self, encoder: Encoder) -> TokenStates | None:
        """What computes this encoder's passes from now on; ``None``: it goes on itself.

        Asked before every pass until there is something; a device may prepare the layers then.
        """
        return None

    def capture_decode(
        self,
        forward: Callable[[DecodeStep], torch.Tensor],
        idle: Callable[[int], DecodeStep],
        rows: int,
    ) -> Callable[[DecodeStep], torch.Tensor]:
        """Wrap the decode forward in a device graph. By default it runs eagerly.

        :param forward: logits [B, vocab]. It can be recorded where attention reads nothing but
            what is on the device: not :attr:`DecodeStep.contexts` and what comes of them.
        :param idle: makes a step of so many rows for nothing, to record with.
        :param rows: of the widest step.
        """
        return forward

    # --- waiting, and what may happen meanwhile -----------------------------------------

    @property
    def queues_ahead(self) -> bool:
        """Whether operators are queued, and calls return before they are done.

        Then the engine hands over the next step before it reads the last one, and no value of the
        device is looked at before. On any device but the CPU, by default.
        """
        return self.device.type != "cpu"

    def synchronize(self) -> None:
        """Wait for everything that was queued on the device."""

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether an exception means that an allocation failed."""
        return is_memory_error(error)

    def is_lost(self, error: BaseException) -> bool:
        """Whether a device that raised this is gone, so that nothing runs on it any more.

        By default it is asked for a number: after what is no more than a kernel's failure a device
        still gives one. Devices that say by their exceptions what happened know better.
        """
        try:
            torch.zeros(1, device=self.device).tolist()
        except NotImplementedError:
            return False  # an operator that it does not have is no loss
        except RuntimeError as again:
            return not self.is_out_of_memory(again)
        return False

    def release(self) -> None:
        """Give back memory that is kept between steps."""
        self._workspace.close()
