"""The native decoder and its parts, compiled for tests, and random decoders to run through it."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sagellm_cpu
import torch
from sagellm_cpu.native.decoder import NativeDecoder, NativeLayer, NativeWeights
from sagellm_cpu.native.structures import WeightStructure
from sagellm_torch import DenseLinear, DeviceAdapter
from sagellm_torch.architecture import DecoderConfig, LayerConfig, RopeConfig, RopeKind
from sagellm_torch.decoder import Decoder
from sagellm_torch.kv_cache import CacheShape, KVCache
from sagellm_torch.linear import DenseEmbedding
from sagellm_torch.rotary import RotaryTable
from sagellm_torch.step import DecodeStep, PrefillStep, Segment, SlotState
from sagellm_torch.weights import DecoderWeights, LayerWeights

_SOURCES = Path(sagellm_cpu.__file__).parent / "native" / "src"

_CALLABLE = """
#include "attention.h"
#include "attention_ahead.h"
#include "row_math.h"
using namespace sagellm;
extern "C" {
void norm(const float* x, const float* w, int64_t size, float eps, float* y) {
  rms_norm(x, w, size, eps, y);
}
void activated(int kind, const float* gate, const float* up, int64_t size, float* y) {
  activate(kind, gate, up, size, y);
}
void layer_normed(const float* x, const float* w, const float* b, int64_t size, float eps,
                  float* y) {
  layer_norm(x, w, b, size, eps, y);
}
void capped(float* x, int64_t size, float cap) { soft_cap(x, size, cap); }
void rotated(const float* x, const float* rotation, int64_t rotary, int64_t size, float* y) {
  rotate_head(x, rotation, rotary, size, y);
}
void attended(const AttentionShape* shape, const Segment* segments, int64_t count, int64_t rows,
              float* keys, float* values, const float* queries, float* out) {
  const AttentionPlan plan = plan_attention(*shape, segments, count, rows);
  const int64_t width = shape->heads * shape->head_dim, lines = plan.partial_lines;
  std::vector<float> space(attention_workspace(*shape));
  std::vector<float> largest(lines), sums(lines), mixed(lines * padded_head(shape->head_dim));
  const Partials partials = {largest.data(), sums.data(), mixed.data()};
  for (const AttentionItem& item : plan.items) {
    attend(*shape, item, segments[item.segment], {keys, values}, queries, width, out, width,
           partials, space.data(), Upcoming());
  }
  for (int64_t row = 0; row < rows; ++row) {
    if (plan.split_of_row[row] < 0) continue;
    const AttentionItem* const first = &plan.split[plan.split_of_row[row]];
    merge_partials(*shape, first, segments[first->segment], partials, out + row * width,
                   space.data());
  }
}
}
"""

#: A pool and packing for the library, which is compiled without its own.
_POOL = """
#include "pool.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "linear.h"
namespace sagellm {
struct Pool::State {
  std::mutex mutex;
  std::condition_variable all;
  int arrived = 0;
  long generation = 0;
};
Pool::Pool(int threads, const int*, int) : state_(new State), threads_(threads) {}
Pool::~Pool() { delete state_; }
void Pool::run(void (*body)(void*, int), void* context) {
  std::vector<std::thread> others;
  for (int i = 1; i < threads_; ++i) others.emplace_back(body, context, i);
  body(context, 0);
  for (std::thread& other : others) other.join();
}
void Pool::barrier() {
  std::unique_lock<std::mutex> lock(state_->mutex);
  const long generation = state_->generation;
  if (++state_->arrived == threads_) {
    state_->arrived = 0;
    ++state_->generation;
    state_->all.notify_all();
    return;
  }
  state_->all.wait(lock, [&] { return generation != state_->generation; });
}
}  // namespace sagellm
using namespace sagellm;
extern "C" {
void* new_pool(int threads) { return new Pool(threads, nullptr, 0); }
size_t data_bytes(int f, int64_t out, int64_t in, int64_t g) {
  return packed_data_bytes(f, out, in, g);
}
size_t scale_count(int f, int64_t out, int64_t in, int64_t g) {
  return packed_scale_count(f, out, in, g);
}
void packed(int f, int64_t out, int64_t in, int64_t g, const void* source, const float* scales,
            void* data, float* packed_scales) {
  pack(f, kF32, out, in, g, 0, out, source, scales, nullptr, data, packed_scales, nullptr);
}
}
"""

#: Flags of the compiler, and what /proc/cpuinfo must list for the result to run.
_VARIANTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "native": (("-march=native",), ()),
    "portable": ((), ()),
}
if platform.machine() == "x86_64":
    _VARIANTS["avx2"] = (("-march=x86-64-v3",), ("avx2", "fma"))


def _compile(folder: Path, sources: Sequence[Path], flags: Sequence[str]) -> ctypes.CDLL:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    common = [*compiler.split(), "-O2", "-std=c++17", "-fPIC", "-pthread", "-Wall", "-Wextra"]

    def compile_one(source: Path) -> str:
        target = str(folder / f"{source.stem}.o")
        command = [*common, "-Werror", *flags, f"-I{_SOURCES}", "-c", str(source), "-o", target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, sources))
    library = folder / "library.so"
    subprocess.run([*common, "-shared", *objects, "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def _runs(needed: tuple[str, ...]) -> bool:
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return not needed
    return words.issuperset(needed)


@pytest.fixture(scope="session", params=_VARIANTS)
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Norms, activations, rotations and attention of one processor variant."""
    flags, needed = _VARIANTS[request.param]
    if not _runs(needed):
        pytest.skip(f"this processor lacks {' or '.join(needed)}")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "callable.cpp").write_text(_CALLABLE, encoding="utf-8")
    sources = [_SOURCES / "row_math.cpp", _SOURCES / "attention.cpp", folder / "callable.cpp"]
    return _compile(folder, sources, flags)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """All of the decoder for this processor, over threads of the tests."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "threads.cpp").write_text(_POOL, encoding="utf-8")
    own = [path for path in _SOURCES.glob("*.cpp") if path.stem not in ("pool", "api")]
    made = _compile(folder, [*own, folder / "threads.cpp"], ["-march=native"])
    made.new_pool.restype = ctypes.c_void_p
    for name in ("data_bytes", "scale_count"):
        getattr(made, name).restype = ctypes.c_size_t
    return made


class PackedWeight:
    """A weight [out, in], packed as floats, or as 8-bit codes for int8 arithmetic."""

    def __init__(
        self,
        library: ctypes.CDLL,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        *,
        codes: bool = False,
    ) -> None:
        out, inputs = weight.shape
        kind = 3 if codes else 0
        sizes = [ctypes.c_int64(size) for size in (out, inputs, inputs)]
        source, scales = weight.contiguous(), None
        if codes:
            scales = weight.abs().amax(dim=1) / 127
            source = (weight / scales[:, None]).round().to(torch.int8).contiguous()
        data = _aligned(library.data_bytes(kind, *sizes))
        own = _aligned(4 * library.scale_count(kind, *sizes)) if codes else None
        library.packed(kind, *sizes, *map(_pointer, (source, scales, data, own)))
        self._alive = (data, own, bias)
        self.nbytes = data.nbytes
        pointers = [_pointer(data), _pointer(own), None, _pointer(bias)]
        self.structure = WeightStructure(kind, int(codes), 0, out, inputs, inputs, *pointers)


def _aligned(count: int) -> torch.Tensor:
    room = torch.empty(count + 64, dtype=torch.uint8)
    start = -room.data_ptr() % 64
    return room[start : start + count]


def _pointer(tensor: torch.Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


class Threads:
    """Threads of the tests."""

    def __init__(self, library: ctypes.CDLL, count: int) -> None:
        self.handle = library.new_pool(count)


#: Sizes of a random decoder; head_dim is no multiple of the vector's lanes.
_SIZES: dict[str, Any] = {
    "model_type": "random",
    "vocab_size": 199,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 24,
    "max_position_embeddings": 1024,
    "layers": (LayerConfig(), LayerConfig(), LayerConfig()),
    "ropes": (RopeConfig(kind=RopeKind.DEFAULT, theta=10000.0, rotary_dim=24),),
    "norm_eps": 1e-6,
    "attention_scale": 0.25,
}


class RandomModel:
    """The same random weights as the kit's decoder and as a native one."""

    def __init__(self, library: ctypes.CDLL, changes: dict[str, Any]) -> None:
        self._library = library
        self.config = DecoderConfig(**{**_SIZES, **changes})
        self._made = torch.Generator().manual_seed(5)
        config = self.config
        embedding = self._random(config.vocab_size, config.hidden_size, spread=1.0)
        head = embedding if config.tie_word_embeddings else self._random(*embedding.shape)
        self._head, self._embedding = head, embedding
        self.layers = [self._layer() for _ in config.layers]
        self._weights = DecoderWeights(
            embedding=DenseEmbedding(embedding),
            layers=[self._eager(layer) for layer in self.layers],
            final_norm=1 + self._random(config.hidden_size),
            head=DenseLinear(head),
        )
        self.eager = Decoder(config, self._weights, DeviceAdapter("cpu"))

    def _random(self, *shape: int, spread: float = 0.2) -> torch.Tensor:
        return torch.randn(shape, generator=self._made) * spread

    def _layer(self) -> dict[str, Any]:
        config = self.config
        hidden, inner, heads = config.hidden_size, config.intermediate_size, config.query_size

        def linear(out: int, inputs: int, bias: bool) -> tuple[torch.Tensor, Any]:
            return self._random(out, inputs), self._random(out) if bias else None

        norms = {"attention_norm": True, "mlp_norm": True}
        norms |= dict.fromkeys(("post_attention_norm", "post_mlp_norm"), config.sandwich_norms)
        qk = self._random(config.num_heads + config.num_kv_heads, config.head_dim)
        return {
            "qkv": linear(heads + 2 * config.kv_size, hidden, config.qkv_bias),
            "output": linear(hidden, heads, config.output_bias),
            "gate_up": linear(2 * inner, hidden, config.mlp_bias),
            "down": linear(hidden, inner, config.mlp_bias),
            **{name: 1 + self._random(hidden) if there else None for name, there in norms.items()},
            "qk_norm": 1 + qk if config.qk_norm else None,
        }

    def _eager(self, layer: dict[str, Any]) -> LayerWeights:
        return LayerWeights(
            **{
                name: DenseLinear(*value) if isinstance(value, tuple) else value
                for name, value in layer.items()
            }
        )

    def native(self, threads: int = 2, *, codes: bool = False) -> NativeDecoder:
        def pack(weight: torch.Tensor, bias: torch.Tensor | None) -> PackedWeight:
            return PackedWeight(self._library, weight, bias, codes=codes)

        weights = NativeWeights(
            embedding=None if self.config.tie_word_embeddings else self._embedding,
            layers=[
                NativeLayer(
                    **{
                        name: pack(*value) if isinstance(value, tuple) else value
                        for name, value in layer.items()
                    }
                )
                for layer in self.layers
            ],
            final_norm=self._weights.final_norm,
            head=pack(self._head, None),
        )
        return NativeDecoder(self.config, weights, self._library, Threads(self._library, threads))


class Steps:
    """Sequences of tokens over a cache with scattered blocks; describes steps to a decoder."""

    def __init__(self, config: DecoderConfig, sequences: int, block_size: int = 4) -> None:
        self._size = block_size
        width = -(-config.max_position_embeddings // block_size)
        count = sequences * width
        shape = CacheShape(
            num_layers=config.num_layers,
            num_blocks=count,
            block_size=block_size,
            num_kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            dtype=torch.float32,
        )
        self.cache = KVCache(shape, torch.device("cpu"))
        for keys, values in self.cache.layers:
            # What no token was written to must not matter to the native decoder.
            keys.fill_(float("nan"))
            values.fill_(float("nan"))
        order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
        self._tables = order.reshape(sequences, width)
        length = config.max_position_embeddings
        self._ropes = [RotaryTable(rope, length, torch.device("cpu")) for rope in config.ropes]
        self._lengths = [0] * sequences

    def _place(self, sequence: int, position: int) -> int:
        block = int(self._tables[sequence, position // self._size])
        if position % self._size == 0:
            # As slots do it: the kit's attention reads whole blocks.
            self.cache.clear(block, 0)
        return block * self._size + position % self._size

    def _rotations(self, positions: Sequence[int]) -> tuple[torch.Tensor, ...]:
        return tuple(rope.rotations(torch.tensor(positions)) for rope in self._ropes)

    def prefill(
        self, chunks: dict[int, Sequence[int]], wanted: Sequence[int] | None = None
    ) -> PrefillStep:
        """The next tokens of some sequences; ``wanted``: rows, or all of them."""
        tokens: list[int] = []
        positions: list[int] = []
        places: list[int] = []
        segments = []
        for sequence, chunk in chunks.items():
            start = self._lengths[sequence]
            end = self._lengths[sequence] = start + len(chunk)
            blocks = self._tables[sequence, : -(-end // self._size)]
            segments.append(
                Segment(first=len(tokens), count=len(chunk), start=start, blocks=blocks, run=None)
            )
            tokens.extend(chunk)
            positions.extend(range(start, end))
            places.extend(self._place(sequence, position) for position in range(start, end))
        return PrefillStep(
            tokens=torch.tensor(tokens),
            rotations=self._rotations(positions),
            write_index=torch.tensor(places),
            segments=tuple(segments),
            logits_index=None if wanted is None else torch.tensor(wanted, dtype=torch.int64),
        )

    def decode(self, tokens: dict[int, int]) -> DecodeStep:
        """One more token of some sequences."""
        positions = [self._lengths[sequence] for sequence in tokens]
        for sequence in tokens:
            self._lengths[sequence] += 1
        contexts = tuple(position + 1 for position in positions)
        widest = max(-(-context // self._size) for context in contexts)
        places = [self._place(s, p) for s, p in zip(tokens, positions, strict=True)]
        tables = self._tables[list(tokens), :widest].clone()
        for row, context in enumerate(contexts):
            tables[row, -(-context // self._size) :] = tables[row, 0]
        rows = range(len(contexts))
        state = SlotState(
            last_tokens=torch.tensor(list(tokens.values())),
            tables=tables,
            ropes=tuple(self._ropes),
        )
        return DecodeStep(
            told=torch.tensor([[*rows], contexts, places, *[positions] * len(self._ropes)]),
            state=state,
            contexts=contexts,
            gather=lambda: tables.reshape(-1),
            max_blocks=widest,
            run=None,
        )


@pytest.fixture(scope="session")
def random_model(library: ctypes.CDLL) -> Callable[..., RandomModel]:
    """A random decoder: ``random_model(head_dim=16, qk_norm=True)``."""

    def make(**changes: Any) -> RandomModel:
        return RandomModel(library, changes)

    return make


@pytest.fixture(scope="session")
def steps() -> type[Steps]:
    """Describes steps of sequences: ``steps(config, sequences, block_size)``."""
    return Steps


@pytest.fixture(scope="session")
def tokens() -> Callable[..., list[int]]:
    """Random token ids: ``tokens(40, seed=3)``."""

    def make(count: int, seed: int = 0) -> list[int]:
        made = torch.Generator().manual_seed(seed)
        return torch.randint(0, 199, (count,), generator=made).tolist()

    return make
