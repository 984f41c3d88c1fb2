"""A GGUF file as a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from sagellm_core.contract import ModelFormatError
from sagellm_torch.quantization import QuantizedWeight

from .codes import READERS, CodeBuffers
from .config import family_of, model_config
from .dequantise import CHUNK_ELEMENTS, dequantise
from .header import GGUFHeader, TensorEntry, read_header
from .rope import FACTOR_TENSORS
from .stop_tokens import stop_token_ids
from .tensor_names import canonical_names

_FEW_ELEMENTS = 1 << 16
#: Elements from which on a tensor is shared among threads of our own. torch would spread each
#: operation over its threads anyway, from here on, and have them wait for each other after each:
#: beside another busy program that took 23 s for SmolLM2-135M, where whole shares of a tensor
#: per thread take 0.6 s.
_WORTH_SHARING = 1 << 15


class GGUFCheckpoint:
    """The tensors of one GGUF file, dequantised when asked for.

    Bytes are read, not mapped: a file that is cut short while it is being loaded is an error
    of ours then, and not a SIGBUS.

    :raises ModelFormatError: not a GGUF file that can be read, or damaged.
    :raises UnsupportedModelError: an architecture or a type of tensor that is not supported.
    """

    def __init__(self, path: Path) -> None:
        self._header = header = read_header(path)
        self._family = family_of(header)
        self._names = canonical_names(header.tensors, self._family)
        self._threads: ThreadPoolExecutor | None = None
        self._file: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.config: Mapping[str, Any] = model_config(header, self._rope_factors(header))
            eos = stop_token_ids(header.metadata)
        except BaseException:
            self.close()
            raise
        generation: dict[str, Any] = {"eos_token_id": eos} if eos else {}
        if "bos_token_id" in self.config:
            generation["bos_token_id"] = self.config["bos_token_id"]
        self.generation_config: Mapping[str, Any] = generation

    def names(self) -> Collection[str]:
        """Canonical names of the tensors."""
        return self._names.keys()

    def tensor(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """One tensor in the layout of a Hugging Face checkpoint."""
        stored = self._names.get(name)
        if stored is None:
            raise ModelFormatError(
                f"{self._header.path} has no tensor for {name}.",
                hint="The file is incomplete; download or convert it again.",
            )
        entry = self._header.tensors[stored]
        shifted = self._family.shifted_norms and name.endswith("norm.weight")
        # Taking the one off in the type of the file and rounding then loses less.
        tensor = self._read(entry, torch.float32 if shifted else dtype)
        if shifted:
            return tensor.sub_(1.0).to(dtype)
        heads = self._permuted_heads(stored)
        return tensor if heads is None else _unpermuted(tensor, heads, stored)

    def _permuted_heads(self, stored: str) -> int | None:
        """How many heads' rows are in ggml's order; ``None``: they are in that of Hugging Face."""
        if self._family.permuted and stored.startswith("blk."):
            if ".attn_q." in stored:
                return int(self.config["num_attention_heads"])
            if ".attn_k." in stored:
                return int(self.config["num_key_value_heads"])
        return None

    def stored_type(self, name: str) -> str:
        """The type of a tensor in the file, as ``Q4_K``."""
        return self._header.tensors[self._names[name]].type.name

    def codes(self, name: str) -> QuantizedWeight | None:
        """A weight's codes, scales and minima exactly as they are in the file.

        ``None`` where its type has none that can be had without loss: it is to be asked for by
        :meth:`tensor`.
        """
        stored = self._names.get(name)
        entry = None if stored is None else self._header.tensors[stored]
        if stored is None or entry is None or len(entry.shape) != 2:
            return None
        if entry.type.name not in READERS:
            return None
        buffers = CodeBuffers(entry.type.name, (entry.shape[0], entry.shape[1]))
        count = entry.shape[0] * entry.shape[1] // entry.type.block_size

        def share(first: int, last: int) -> None:
            for chunk in self._chunks(entry, first, last - first):
                buffers.add(first, chunk)
                first += len(chunk)

        self._share(count, entry.shape[0] * entry.shape[1], share)
        heads = self._permuted_heads(stored)
        if heads is None:
            return buffers.weight
        return buffers.weight.reordered(lambda rows: _unpermuted(rows, heads, stored))

    def close(self) -> None:
        """Close the file. Tensors that were handed out stay good."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _rope_factors(self, header: GGUFHeader) -> dict[str, list[float]]:
        factors = {}
        for name in FACTOR_TENSORS:
            entry = header.tensors.get(name)
            if entry is None:
                continue
            if len(entry.shape) != 1 or entry.shape[0] > _FEW_ELEMENTS:
                raise ModelFormatError(
                    f"{header.path}: {name} has the shape {entry.shape}; a short list of "
                    "factors was expected.",
                    hint="Convert the model again.",
                )
            factors[name] = self._read(entry, torch.float32).tolist()
        return factors

    def _read(self, entry: TensorEntry, dtype: torch.dtype) -> torch.Tensor:
        out = torch.empty(entry.shape, dtype=dtype)
        blocks = out.view(-1, entry.type.block_size)
        self._share(
            len(blocks),
            out.numel(),
            lambda first, last: self._decode(entry, blocks[first:last], first),
        )
        return out

    def _share(self, blocks: int, elements: int, work: Callable[[int, int], None]) -> None:
        """Let threads do ``work`` from one block to another, if that is worth it."""
        shares = torch.get_num_threads() if elements >= _WORTH_SHARING else 1
        if shares == 1:
            work(0, blocks)
            return
        cuts = [blocks * share // shares for share in range(shares + 1)]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(shares, "gguf")
        tasks = [self._threads.submit(work, first, last) for first, last in pairwise(cuts)]
        # All of them end before any error leaves: they write into one tensor.
        wait(tasks)
        for task in tasks:
            task.result()

    def _decode(self, entry: TensorEntry, blocks: torch.Tensor, first: int) -> None:
        """Fill ``blocks``, which are those of the tensor from number ``first`` on."""
        dequantise(self._chunks(entry, first, len(blocks)), entry.type, blocks)

    def _chunks(self, entry: TensorEntry, first: int, count: int) -> Iterator[torch.Tensor]:
        """``count`` blocks of the tensor, uint8 [n, block_bytes] each, through one buffer."""
        block_bytes = entry.type.block_bytes
        per_chunk = CHUNK_ELEMENTS // entry.type.block_size
        buffer = torch.empty(min(count, per_chunk), block_bytes, dtype=torch.uint8)
        at = entry.offset + first * block_bytes
        left = count
        while left:
            chunk = buffer[: min(left, per_chunk)]
            self._fill(chunk.numpy().data.cast("B"), at, entry.name)
            yield chunk
            at += len(chunk) * block_bytes
            left -= len(chunk)

    def _fill(self, view: memoryview, at: int, name: str) -> None:
        path = self._header.path
        if self._file is None:
            raise ModelFormatError(
                f"{path} was closed before {name} was read.", hint="Open the model again."
            )
        done = 0
        while done < len(view):
            try:
                count = os.preadv(self._file, [view[done:]], at + done)
            except OSError as error:
                raise ModelFormatError(
                    f"{path}: {name} could not be read at byte {at + done}: {error.strerror}.",
                    hint="Check the disk that the file is on.",
                ) from error
            if count == 0:
                raise ModelFormatError(
                    f"{path} ends at byte {at + done}, inside {name}.",
                    hint="Did something truncate the file? Download or convert it again.",
                )
            done += count


def _unpermuted(tensor: torch.Tensor, heads: int, name: str) -> torch.Tensor:
    """Rows of q or k as Hugging Face has them.

    Within a head of d rows the file has the pairs (i, i + d/2) side by side, for ggml's rotary
    embedding of neighbours; Hugging Face rotates the first half against the second.
    """
    rows = tensor.shape[0]
    if rows % (2 * heads):
        raise ModelFormatError(
            f"{name} has {rows} rows, which cannot be {heads} heads of an even size.",
            hint="Convert the model again.",
        )
    pairs = tensor.view(heads, rows // heads // 2, 2, *tensor.shape[1:])
    return pairs.transpose(1, 2).reshape(tensor.shape)
