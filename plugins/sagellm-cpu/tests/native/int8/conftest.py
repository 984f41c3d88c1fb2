"""The int8 kernels of every processor variant this machine can run, callable from Python.

Compiled with the flags of each variant, over a few lines of C that export them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
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

_SOURCES = Path(sagellm_cpu.__file__).parent / "native" / "src"
_FILES = ("pack_codes.cpp", "quantise_row.cpp", "linear_int8.cpp", "linear_int8_matrix.cpp")
_HERE = Path(__file__).parent
_Q8, _Q4, _INT8 = 3, 4, 1
_F32, _F16 = 0, 1

_CALLABLE = """
#include "linear_int8_matrix.h"
#include "linear_kernels.h"
using namespace sagellm;
extern "C" {
const char* matrices() { return matrix_instructions(); }
size_t data_bytes(int f, int64_t out, int64_t in) { return code_data_bytes(f, out, in); }
size_t scale_count(int64_t out, int64_t in, int64_t g) { return code_scale_count(out, in, g); }
void packed(int f, int sf, int64_t out, int64_t in, int64_t g, int64_t first, int64_t count,
            const void* source, const void* scales, const void* mins, void* data, void* ps,
            void* pm) {
  pack_codes(f, sf, out, in, g, first, count, source, scales, mins, data, ps, pm);
}
void unpacked(const Weight* w, int64_t row, float* dst) { unpack_codes_row(*w, row, dst); }
size_t rounded_bytes(int64_t rows, int64_t in, int64_t g) { return quantised_bytes(rows, in, g); }
void rounded(const float* x, int64_t in, int64_t g, int64_t row, int64_t rows, void* q) {
  quantise_row(x, in, g, row, rows, q);
}
void product(const Weight* w, int64_t rows, void* q, float* y, int64_t ldy, int add, int thread,
             int threads) {
  linear_int8(*w, {nullptr, 0, rows, q}, y, ldy, add ? kAdd : kStore, thread, threads);
}
}
"""

_AVX512 = ("avx512f", "avx512bw", "avx512vl", "avx512dq")
#: Flags of the compiler, and what /proc/cpuinfo must list for the result to run.
_VARIANTS = {
    "native": (("-march=native",), ()),
    "portable": ((), ()),
}
if platform.machine() == "x86_64":
    _VARIANTS |= {
        "avx2": (("-march=x86-64-v3",), ("avx2", "fma")),
        "avx_vnni": (("-march=x86-64-v3", "-mavxvnni"), ("avx2", "fma", "avx_vnni")),
        # The same instruction in the encoding of AVX-512.
        "avx2_vnni": (
            ("-march=x86-64-v3", "-mavx512vnni", "-mavx512vl"),
            ("avx512_vnni", "avx512vl"),
        ),
        "avx512": (("-march=x86-64-v4",), _AVX512),
        # The tiles of AMX in C++, for processors that have the rest.
        "amx_emulated": (
            ("-march=x86-64-v4", f'-DSAGELLM_AMX_HEADER="{_HERE / "emulated_amx.h"}"'),
            _AVX512,
        ),
    }


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as numbers: codes ``[out, in]``, scales and minimums ``[out, in / group]``.

    Scales and minimums are kept as they are here: float32 or float16.
    """

    bits: int
    group: int
    codes: npt.NDArray[np.int64]
    scales: Scales
    mins: Scales | None
    bias: Array | None

    @classmethod
    def random(
        cls,
        seed: int,
        *,
        bits: int,
        out: int,
        inputs: int,
        group: int,
        mins: bool = False,
        bias: bool = False,
        half: bool = False,
    ) -> Layer:
        rng = np.random.default_rng(seed)
        low, high = (-128, 128) if bits == 8 else (0, 16)
        shape = (out, inputs // group)
        kept = np.float16 if half else np.float32
        return cls(
            bits=bits,
            group=group,
            codes=rng.integers(low, high, (out, inputs)),
            scales=rng.uniform(0.001, 1.0, shape).astype(kept),
            mins=rng.uniform(-1.0, 1.0, shape).astype(kept) if mins else None,
            bias=rng.uniform(-1.0, 1.0, out).astype(np.float32) if bias else None,
        )

    @classmethod
    def drawn(cls, shape: dict[str, int]) -> Layer:
        """Of a shape that hypothesis drew: without a ``group``, of ``odd`` inputs in one."""
        group = shape["group"]
        inputs = group * shape["width"] if group else shape["odd"]
        return cls.random(
            shape["seed"],
            bits=shape["bits"],
            out=shape["out"],
            inputs=inputs,
            group=group or inputs,
            mins=bool(shape["mins"]),
            bias=bool(shape["bias"]),
            half=bool(shape["half"]),
        )

    def weights(self) -> npt.NDArray[np.float64]:
        wide = self.codes * np.repeat(self.scales.astype(np.float64), self.group, axis=1)
        if self.mins is not None:
            wide = wide + np.repeat(self.mins.astype(np.float64), self.group, axis=1)
        return wide

    def source(self) -> npt.NDArray[np.generic]:
        """As packing takes it: int8, or two codes a byte with the even input in the low half."""
        if self.bits == 8:
            return self.codes.astype(np.int8)
        even = np.pad(self.codes, ((0, 0), (0, self.codes.shape[1] % 2)))
        return (even[:, 0::2] | even[:, 1::2] << 4).astype(np.uint8)


def _aligned(count: int) -> npt.NDArray[np.uint8]:
    """Bytes at a multiple of 64, filled with what nobody may read."""
    room = np.full(count + 64, 0xA5, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + count]


def _address(array: npt.NDArray[np.generic] | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


class Kernels:
    """One compiled variant."""

    def __init__(self, library: Path) -> None:
        self._c = ctypes.CDLL(str(library))
        for name in ("data_bytes", "scale_count", "rounded_bytes"):
            getattr(self._c, name).restype = ctypes.c_size_t
        self._c.matrices.restype = ctypes.c_char_p

    @property
    def matrices(self) -> str:
        """Instructions that multiply matrices; empty: there are none."""
        return bytes(self._c.matrices()).decode()

    def pack(self, layer: Layer, parts: int = 1) -> tuple[WeightStructure, list[object]]:
        """The packed layer, and what must live as long as it does."""
        out, inputs = layer.codes.shape
        kind = _Q8 if layer.bits == 8 else _Q4
        sizes = (ctypes.c_int64(out), ctypes.c_int64(inputs), ctypes.c_int64(layer.group))
        data = _aligned(self._c.data_bytes(kind, *sizes[:2]))
        count = self._c.scale_count(*sizes)
        width = layer.scales.itemsize
        scales = _aligned(width * count)
        mins = None if layer.mins is None else _aligned(width * count)
        scale_format = _F16 if width == 2 else _F32
        for rows in np.array_split(np.arange(out), parts):
            if not len(rows):
                continue
            span = slice(rows[0], rows[-1] + 1)
            source = np.ascontiguousarray(layer.source()[span])
            part_scales = np.ascontiguousarray(layer.scales[span])
            part_mins = None if layer.mins is None else np.ascontiguousarray(layer.mins[span])
            self._c.packed(
                kind,
                scale_format,
                *sizes,
                ctypes.c_int64(span.start),
                ctypes.c_int64(len(rows)),
                _address(source),
                _address(part_scales),
                _address(part_mins),
                _address(data),
                _address(scales),
                _address(mins),
            )
        bias = layer.bias
        weight = WeightStructure(
            kind,
            _INT8,
            scale_format,
            out,
            inputs,
            layer.group,
            _address(data),
            _address(scales),
            _address(mins),
            _address(bias),
        )
        return weight, [data, scales, mins, bias]

    def unpack(self, weight: WeightStructure, row: int) -> Array:
        target = np.full(weight.in_, np.nan, np.float32)
        self._c.unpacked(ctypes.byref(weight), ctypes.c_int64(row), _address(target))
        return target

    def quantise(self, x: Array, group: int) -> npt.NDArray[np.uint8]:
        rows, inputs = x.shape
        sizes = (ctypes.c_int64(inputs), ctypes.c_int64(group))
        buffer = _aligned(self._c.rounded_bytes(ctypes.c_int64(rows), *sizes))
        for row in range(rows):
            self._c.rounded(
                _address(np.ascontiguousarray(x[row])),
                *sizes,
                ctypes.c_int64(row),
                ctypes.c_int64(rows),
                _address(buffer),
            )
        return buffer

    def linear(
        self,
        layer: Layer,
        x: Array,
        *,
        threads: int = 1,
        parts: int = 1,
        onto: Array | None = None,
    ) -> Array:
        """``[rows, out]``; written into a wider array whose other columns must stay as they are."""
        weight, _alive = self.pack(layer, parts)
        quantised = self.quantise(x, layer.group)
        out = layer.codes.shape[0]
        y = np.full((len(x), out + 3), 7.5, np.float32)
        if onto is not None:
            y[:, :out] = onto
        for thread in range(threads):
            self._c.product(
                ctypes.byref(weight),
                ctypes.c_int64(len(x)),
                _address(quantised),
                _address(y),
                ctypes.c_int64(out + 3),
                onto is not None,
                thread,
                threads,
            )
        assert (y[:, out:] == 7.5).all()
        return y[:, :out].copy()


def _sixteenths(seed: int, rows: int, inputs: int) -> Array:
    """Sixteenths of up to 127, among which every group has 127: rounding to int8 is exact."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-127, 128, (rows, inputs)).astype(np.float32)
    x[:, ::32] = 127
    return x / 16


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
    common = [*compiler.split(), "-O2", "-std=c++17", "-fPIC", "-Wall", "-Wextra", "-Werror"]

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


@pytest.fixture(scope="session")
def sixteenths() -> Callable[[int, int, int], Array]:
    """Inputs ``[rows, in]`` of a seed whose rounding to int8 is exact."""
    return _sixteenths
