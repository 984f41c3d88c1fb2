"""The float kernels of every processor variant this machine can run, callable from Python.

Compiled with the flags of each variant, over a few lines of C that export them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import sagellm_cpu
from sagellm_cpu.native.structures import WeightStructure

Array = npt.NDArray[np.float32]
Scales = npt.NDArray[np.float32 | np.float16]
Numbers = npt.NDArray[np.generic]

_SOURCES = Path(sagellm_cpu.__file__).parent / "native" / "src"
_FILES = ("pack_codes.cpp", "pack_floats.cpp", "linear_float_few.cpp", "linear_float_many.cpp")
_FLOAT = 0
_F32, _F16 = 0, 1

_CALLABLE = """
#include "floats_layout.h"
#include "linear_kernels.h"
using namespace sagellm;
extern "C" {
int few(int format) { return few_rows(format); }
#ifdef __FP_FAST_FMAF
int fused() { return 1; }
#else
int fused() { return 0; }
#endif
size_t data_bytes(int f, int64_t out, int64_t in) {
  return is_float_format(f) ? float_data_bytes(f, out, in) : code_data_bytes(f, out, in);
}
size_t scale_count(int64_t out, int64_t in, int64_t g) { return code_scale_count(out, in, g); }
void packed(int f, int sf, int64_t out, int64_t in, int64_t g, int64_t first, int64_t count,
            const void* source, const void* scales, const void* mins, void* data, void* ps,
            void* pm) {
  if (is_float_format(f)) {
    pack_floats(f, out, in, first, count, source, data);
  } else {
    pack_codes(f, sf, out, in, g, first, count, source, scales, mins, data, ps, pm);
  }
}
void unpacked(const Weight* w, int64_t row, float* dst) {
  if (is_float_format(w->format)) {
    unpack_floats_row(*w, row, dst);
  } else {
    unpack_codes_row(*w, row, dst);
  }
}
void product(const Weight* w, const float* x, int64_t ld, int64_t rows, float* y, int64_t ldy,
             int add, int few, int thread, int threads) {
  const Rows all = {x, ld, rows, nullptr};
  const Output output = add ? kAdd : kStore;
  if (few) {
    linear_float_few(*w, all, y, ldy, output, thread, threads);
  } else {
    linear_float_many(*w, all, y, ldy, output, thread, threads);
  }
}
}
"""

#: Flags of the compiler, and what /proc/cpuinfo must list for the result to run.
_VARIANTS = {
    "native": (("-march=native",), ()),
    "portable": ((), ()),
}
if platform.machine() == "x86_64":
    _VARIANTS["avx2"] = (("-march=x86-64-v3",), ("avx2", "fma", "f16c"))


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as it is packed and as numbers.

    ``source`` is what packing takes; ``weights`` ``[out, in]`` are the numbers it stands for, in
    float64; ``scales`` and ``mins`` are ``[out, in / group]``, float32 or float16.
    """

    format: int
    group: int
    source: Numbers
    weights: npt.NDArray[np.float64]
    scales: Scales | None = None
    mins: Scales | None = None
    bias: Array | None = None

    @classmethod
    def random(
        cls,
        seed: int,
        kind: str,
        *,
        out: int,
        inputs: int,
        group: int = 0,
        mins: bool = False,
        bias: bool = False,
        half: bool = False,
    ) -> Layer:
        """``kind`` is f32, f16, bf16, q8 or q4; no ``group`` is one for the whole row."""
        rng = np.random.default_rng(seed)
        added = rng.uniform(-1.0, 1.0, out).astype(np.float32) if bias else None
        if kind in ("q8", "q4"):
            return cls._codes(rng, kind, out, inputs, group or inputs, mins, added, half)
        numbers = rng.uniform(-1.0, 1.0, (out, inputs)).astype(np.float32)
        return cls._floats(kind, numbers, added)

    @classmethod
    def _floats(cls, kind: str, numbers: Array, bias: Array | None) -> Layer:
        if kind == "f32":
            source: Numbers = numbers
            wide = numbers
        elif kind == "f16":
            source = numbers.astype(np.float16)
            wide = source.astype(np.float32)
        else:
            bits = numbers.view(np.uint32) & np.uint32(0xFFFF0000)
            source, wide = (bits >> 16).astype(np.uint16), bits.view(np.float32)
        formats = {"f32": 0, "f16": 1, "bf16": 2}
        return cls(formats[kind], numbers.shape[1], source, wide.astype(np.float64), bias=bias)

    @classmethod
    def _codes(
        cls,
        rng: np.random.Generator,
        kind: str,
        out: int,
        inputs: int,
        group: int,
        with_mins: bool,
        bias: Array | None,
        half: bool,
    ) -> Layer:
        low, high = (-128, 128) if kind == "q8" else (0, 16)
        codes = rng.integers(low, high, (out, inputs))
        shape = (out, inputs // group)
        kept = np.float16 if half else np.float32
        scales = rng.uniform(0.001, 0.1, shape).astype(kept)
        mins = rng.uniform(-1.0, 0.0, shape).astype(kept) if with_mins else None
        weights = codes * np.repeat(scales.astype(np.float64), group, axis=1)
        if mins is not None:
            weights = weights + np.repeat(mins.astype(np.float64), group, axis=1)
        source: Numbers = codes.astype(np.int8)
        if kind == "q4":
            even = np.pad(codes, ((0, 0), (0, inputs % 2)))
            source = (even[:, 0::2] | even[:, 1::2] << 4).astype(np.uint8)
        return cls(3 if kind == "q8" else 4, group, source, weights, scales, mins, bias)


def _aligned(count: int) -> npt.NDArray[np.uint8]:
    """Bytes at a multiple of 64, filled with what nobody may read."""
    room = np.full(count + 64, 0xA5, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + count]


def _address(array: Numbers | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


class Kernels:
    """One compiled variant."""

    def __init__(self, library: Path) -> None:
        self._c = ctypes.CDLL(str(library))
        for name in ("data_bytes", "scale_count"):
            getattr(self._c, name).restype = ctypes.c_size_t
        #: Whether a multiplication and an addition are known to be rounded once.
        self.fused = bool(self._c.fused())

    def few_rows(self, layer: Layer) -> int:
        """Rows up to which there are kernels for few rows."""
        return int(self._c.few(layer.format))

    def pack(self, layer: Layer, parts: int = 1) -> tuple[WeightStructure, list[object]]:
        """The packed layer, and what must live as long as it does."""
        out, inputs = layer.weights.shape
        sizes = (ctypes.c_int64(out), ctypes.c_int64(inputs), ctypes.c_int64(layer.group))
        data = _aligned(self._c.data_bytes(layer.format, *sizes[:2]))
        count = 0 if layer.scales is None else self._c.scale_count(*sizes)
        width = 4 if layer.scales is None else layer.scales.itemsize
        scales = None if layer.scales is None else _aligned(width * count)
        mins = None if layer.mins is None else _aligned(width * count)
        scale_format = _F16 if width == 2 else _F32
        for rows in np.array_split(np.arange(out), parts):
            if not len(rows):
                continue
            span = slice(rows[0], rows[-1] + 1)
            wanted = (layer.source, layer.scales, layer.mins)
            pieces = [None if all_ is None else np.ascontiguousarray(all_[span]) for all_ in wanted]
            self._c.packed(
                layer.format,
                scale_format,
                *sizes,
                ctypes.c_int64(span.start),
                ctypes.c_int64(len(rows)),
                *(_address(piece) for piece in pieces),
                *(_address(target) for target in (data, scales, mins)),
            )
        weight = WeightStructure(
            layer.format,
            _FLOAT,
            scale_format,
            out,
            inputs,
            layer.group,
            *(_address(array) for array in (data, scales, mins, layer.bias)),
        )
        return weight, [data, scales, mins, layer.bias]

    def unpack(self, layer: Layer, parts: int = 1) -> Array:
        """Every row of the packed layer."""
        weight, _alive = self.pack(layer, parts)
        target = np.full(layer.weights.shape, np.nan, np.float32)
        for row, numbers in enumerate(target):
            self._c.unpacked(ctypes.byref(weight), ctypes.c_int64(row), _address(numbers))
        return target

    def linear(
        self,
        layer: Layer,
        x: Array,
        *,
        few: bool,
        threads: int = 1,
        parts: int = 1,
        onto: Array | None = None,
    ) -> Array:
        """``[rows, out]``; written into a wider array whose other columns must stay as they are."""
        weight, _alive = self.pack(layer, parts)
        rows, inputs = x.shape
        out = layer.weights.shape[0]
        wide = np.full((rows, inputs + 5), np.nan, np.float32)
        wide[:, :inputs] = x
        y = np.full((rows, out + 3), 7.5, np.float32)
        if onto is not None:
            y[:, :out] = onto
        for thread in range(threads):
            self._c.product(
                ctypes.byref(weight),
                _address(wide),
                ctypes.c_int64(inputs + 5),
                ctypes.c_int64(rows),
                _address(y),
                ctypes.c_int64(out + 3),
                onto is not None,
                few,
                thread,
                threads,
            )
        assert (y[:, out:] == 7.5).all()
        return y[:, :out].copy()


def _runs(needed: tuple[str, ...]) -> bool:
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return not needed
    return words.issuperset(needed)


@pytest.fixture(scope="session", params=_VARIANTS)
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    flags, needed = _VARIANTS[request.param]
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    if not _runs(needed):
        pytest.skip(f"this processor lacks {' or '.join(needed)}")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "callable.cpp").write_text(_CALLABLE, encoding="utf-8")
    sources = [_SOURCES / name for name in _FILES] + [folder / "callable.cpp"]
    common = [*shlex.split(compiler), "-O1", "-std=c++17", "-fPIC", "-Wall", "-Wextra", "-Werror"]

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        command = [*common, *flags, f"-I{_SOURCES}", "-c", str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = [str(path) for path in pool.map(compile_one, sources)]
    library = folder / "kernels.so"
    subprocess.run([*common, "-shared", *objects, "-o", str(library)], check=True)
    return Kernels(library)


@pytest.fixture(scope="session")
def layer() -> type[Layer]:
    """A layer as numbers: its constructor, and ``random``."""
    return Layer
