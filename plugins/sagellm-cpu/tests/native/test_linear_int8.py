"""The int8 kernels of every processor variant this machine can run, against exact arithmetic.

Compiled here with flags of each variant, over a few lines of C that make them callable.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import sagellm_cpu
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Array = npt.NDArray[np.float32]

_SOURCES = Path(sagellm_cpu.__file__).parent / "native" / "src"
_FILES = ("pack_codes.cpp", "quantise_row.cpp", "linear_int8.cpp")
_Q8, _Q4, _INT8 = 3, 4, 1

_CALLABLE = """
#include "linear_kernels.h"
using namespace sagellm;
extern "C" {
size_t data_bytes(int f, int64_t out, int64_t in) { return code_data_bytes(f, out, in); }
size_t scale_count(int64_t out, int64_t in, int64_t g) { return code_scale_count(out, in, g); }
void packed(int f, int64_t out, int64_t in, int64_t g, int64_t first, int64_t count,
            const void* source, const float* scales, const float* mins, void* data, float* ps,
            float* pm) {
  pack_codes(f, out, in, g, first, count, source, scales, mins, data, ps, pm);
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

#: Flags of the compiler, and what /proc/cpuinfo must list for the result to run.
_VARIANTS = {
    "native": (("-march=native",), ()),
    "portable": ((), ()),
}
if platform.machine() == "x86_64":
    _VARIANTS |= {
        "avx2": (("-march=x86-64-v3",), ("avx2", "fma")),
        "avx_vnni": (("-march=x86-64-v3", "-mavxvnni"), ("avx2", "fma", "avx_vnni")),
        "avx512": (("-march=x86-64-v4",), ("avx512f", "avx512bw", "avx512vl", "avx512dq")),
    }


class _Weight(ctypes.Structure):
    _fields_ = (
        ("format", ctypes.c_int32),
        ("arithmetic", ctypes.c_int32),
        ("out", ctypes.c_int64),
        ("in_", ctypes.c_int64),
        ("group", ctypes.c_int64),
        ("data", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("mins", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer as numbers: codes ``[out, in]``, scales and minimums ``[out, in / group]``."""

    bits: int
    group: int
    codes: npt.NDArray[np.int64]
    scales: Array
    mins: Array | None
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
    ) -> _Layer:
        rng = np.random.default_rng(seed)
        low, high = (-128, 128) if bits == 8 else (0, 16)
        shape = (out, inputs // group)
        return cls(
            bits=bits,
            group=group,
            codes=rng.integers(low, high, (out, inputs)),
            scales=rng.uniform(0.001, 1.0, shape).astype(np.float32),
            mins=rng.uniform(-1.0, 1.0, shape).astype(np.float32) if mins else None,
            bias=rng.uniform(-1.0, 1.0, out).astype(np.float32) if bias else None,
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


class _Kernels:
    """One compiled variant."""

    def __init__(self, library: Path) -> None:
        self._c = ctypes.CDLL(str(library))
        for name in ("data_bytes", "scale_count", "rounded_bytes"):
            getattr(self._c, name).restype = ctypes.c_size_t

    def pack(self, layer: _Layer, parts: int = 1) -> tuple[_Weight, list[object]]:
        """The packed layer, and what must live as long as it does."""
        out, inputs = layer.codes.shape
        kind = _Q8 if layer.bits == 8 else _Q4
        sizes = (ctypes.c_int64(out), ctypes.c_int64(inputs), ctypes.c_int64(layer.group))
        data = _aligned(self._c.data_bytes(kind, *sizes[:2]))
        count = self._c.scale_count(*sizes)
        scales = _aligned(4 * count)
        mins = None if layer.mins is None else _aligned(4 * count)
        for rows in np.array_split(np.arange(out), parts):
            if not len(rows):
                continue
            span = slice(rows[0], rows[-1] + 1)
            source = np.ascontiguousarray(layer.source()[span])
            part_scales = np.ascontiguousarray(layer.scales[span])
            part_mins = None if layer.mins is None else np.ascontiguousarray(layer.mins[span])
            self._c.packed(
                kind,
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
        weight = _Weight(
            kind,
            _INT8,
            out,
            inputs,
            layer.group,
            _address(data),
            _address(scales),
            _address(mins),
            _address(bias),
        )
        return weight, [data, scales, mins, bias]

    def unpack(self, weight: _Weight, row: int) -> Array:
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
        layer: _Layer,
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


def _rounded(x: Array, group: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Codes ``[rows, in]`` and scales ``[rows, groups]`` by the rule in linear.h."""
    split = x.astype(np.float64).reshape(len(x), -1, group)
    largest = np.abs(split).max(axis=2)
    scales = largest / 127
    safe = np.where(scales == 0, 1.0, scales)
    codes = np.rint(split / safe[:, :, None]).astype(np.int64)
    return codes.reshape(x.shape), scales


def _exact(layer: _Layer, x: Array) -> npt.NDArray[np.float64]:
    """Integer sums, then scales and minimums, in float64."""
    codes, scales = _rounded(x, layer.group)
    rows, out = len(x), layer.codes.shape[0]
    result = np.zeros((rows, out))
    for g in range(scales.shape[1]):
        span = slice(g * layer.group, (g + 1) * layer.group)
        sums = codes[:, span] @ layer.codes[:, span].T
        result += scales[:, g, None] * layer.scales[None, :, g] * sums
        if layer.mins is not None:
            total = scales[:, g] * codes[:, span].sum(axis=1)
            result += total[:, None] * layer.mins[None, :, g]
    return result if layer.bias is None else result + layer.bias


def _inputs(seed: int, rows: int, inputs: int) -> Array:
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


@pytest.fixture(scope="module", params=_VARIANTS)
def kernels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Kernels]:
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
    yield _Kernels(library)


_shapes = st.fixed_dictionaries(
    {
        "bits": st.sampled_from((8, 4)),
        "out": st.integers(1, 150),
        "group": st.sampled_from((0, 32, 64, 96)),
        "width": st.integers(1, 5),
        "odd": st.integers(1, 200),
        "mins": st.booleans(),
        "bias": st.booleans(),
        "rows": st.integers(1, 40),
        "threads": st.integers(1, 3),
        "parts": st.integers(1, 4),
        "seed": st.integers(0, 1000),
    }
)


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(_shapes)
def test_products_are_those_of_exact_integer_sums(kernels: _Kernels, shape: dict[str, int]) -> None:
    group = shape["group"]
    inputs = group * shape["width"] if group else shape["odd"]
    layer = _Layer.random(
        shape["seed"],
        bits=shape["bits"],
        out=shape["out"],
        inputs=inputs,
        group=group or inputs,
        mins=bool(shape["mins"]),
        bias=bool(shape["bias"]),
    )
    x = _inputs(shape["seed"], shape["rows"], inputs)
    got = kernels.linear(layer, x, threads=shape["threads"], parts=shape["parts"])
    want = _exact(layer, x)
    # Each group is one rounding of a sum whose terms are at most this large.
    size = np.abs(x).astype(np.float64) @ np.abs(layer.weights()).T + 200
    assert (np.abs(got - want) <= 4e-6 * size).all()


def test_one_scale_a_row_is_exact_to_the_last_bit(kernels: _Kernels) -> None:
    """Sums that a float holds, scales that are powers of two: nothing is rounded."""
    for bits in (8, 4):
        layer = _Layer.random(5, bits=bits, out=37, inputs=203, group=203)
        layer = _Layer(bits, 203, layer.codes, np.full((37, 1), 0.25, np.float32), None, None)
        x = _inputs(9, 11, 203) * np.float32(16)
        assert np.array_equal(kernels.linear(layer, x), x @ (layer.codes.T / 4))


@pytest.mark.parametrize("bits", [8, 4])
def test_extreme_codes_and_inputs_do_not_saturate(kernels: _Kernels, bits: int) -> None:
    extremes = (-128, 127) if bits == 8 else (0, 15)
    for code in extremes:
        for sign in (-1, 1):
            codes = np.full((20, 4096), code)
            layer = _Layer(bits, 4096, codes, np.ones((20, 1), np.float32), None, None)
            x = np.full((3, 4096), sign * 127, np.float32)
            assert (kernels.linear(layer, x) == np.float32(127 * sign * code * 4096)).all()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("group", [32, 256])
def test_a_row_does_not_depend_on_its_company(kernels: _Kernels, bits: int, group: int) -> None:
    layer = _Layer.random(2, bits=bits, out=203, inputs=256, group=group, mins=bits == 4, bias=True)
    x = np.random.default_rng(4).standard_normal((41, 256)).astype(np.float32)
    together = kernels.linear(layer, x)
    for rows in (1, 2, 3, 5, 6, 7, 13):
        assert np.array_equal(kernels.linear(layer, x[:rows]), together[:rows])
    for threads in (2, 3, 7, 20):
        assert np.array_equal(kernels.linear(layer, x, threads=threads), together)


def test_more_rows_than_a_block_holds(kernels: _Kernels) -> None:
    layer = _Layer.random(3, bits=4, out=33, inputs=4096, group=128, mins=True)
    x = np.random.default_rng(6).standard_normal((120, 4096)).astype(np.float32)
    together = kernels.linear(layer, x)
    assert np.array_equal(kernels.linear(layer, x[100:101]), together[100:101])
    assert np.array_equal(kernels.linear(layer, x[119:]), together[119:])


def test_adding_onto_what_is_there(kernels: _Kernels) -> None:
    layer = _Layer.random(8, bits=8, out=35, inputs=64, group=32, bias=True)
    x = _inputs(1, 9, 64)
    onto = np.random.default_rng(3).standard_normal((9, 35)).astype(np.float32)
    assert np.array_equal(kernels.linear(layer, x, onto=onto), onto + kernels.linear(layer, x))


def test_rows_unpack_to_their_weights(kernels: _Kernels) -> None:
    for bits, group, inputs in ((8, 32, 96), (8, 45, 45), (4, 32, 96), (4, 46, 46), (4, 13, 13)):
        layer = _Layer.random(1, bits=bits, out=21, inputs=inputs, group=group, mins=bits == 4)
        weight, _alive = kernels.pack(layer, parts=3)
        rows = np.stack([kernels.unpack(weight, row) for row in range(21)])
        assert np.abs(rows - layer.weights()).max() <= 1e-5


@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(
    exponent=st.integers(-44, 37),
    inputs=st.integers(1, 130),
    seed=st.integers(0, 1000),
)
def test_rounding_is_by_the_largest_of_a_group(
    kernels: _Kernels, exponent: int, inputs: int, seed: int
) -> None:
    """An identity matrix shows what inputs were rounded to, whatever their magnitude."""
    x = np.random.default_rng(seed).uniform(-1, 1, (2, inputs)) * 10.0**exponent
    x = x.astype(np.float32)
    layer = _Layer(
        8, inputs, np.eye(inputs, dtype=np.int64), np.ones((inputs, 1), np.float32), None, None
    )
    got = kernels.linear(layer, x).astype(np.float64)
    largest = np.abs(x.astype(np.float64)).max(axis=1, keepdims=True)
    # Half a step; and steps that are themselves rounded where floats have few bits left.
    assert (np.abs(got - x) <= largest / 253.9 + 127 * 1.5e-45).all()


def test_zeros_give_the_bias_and_rows_stay_apart(kernels: _Kernels) -> None:
    layer = _Layer.random(4, bits=4, out=18, inputs=64, group=32, mins=True, bias=True)
    x = np.zeros((4, 64), np.float32)
    x[1] = 1e30
    x[3, 40] = 1e-40
    got = kernels.linear(layer, x)
    assert np.array_equal(got[0], layer.bias)
    assert np.array_equal(got[2], layer.bias)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("bits", [8, 4])
def test_what_is_no_number_gives_none(kernels: _Kernels, bits: int, bad: float) -> None:
    layer = _Layer.random(7, bits=bits, out=40, inputs=96, group=32, mins=bits == 4)
    x = _inputs(2, 7, 96)
    clean = kernels.linear(layer, x)
    x[3, 50] = bad
    got = kernels.linear(layer, x)
    assert np.isnan(got[3]).all()
    assert np.array_equal(np.delete(got, 3, axis=0), np.delete(clean, 3, axis=0))
