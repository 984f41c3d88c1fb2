"""Which library is kept: measured, and never one whose products are wrong.

The tiles of AMX are emulated in C++, so that there is something to choose on any processor with
AVX-512: right but slow, wrong, or beside vectors that are slower still.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sagellm_cpu
from sagellm_cpu.native.build import NativeBuild

_EMULATION = Path(__file__).parent / "int8" / "emulated_amx.h"
_SOURCE = Path(sagellm_cpu.__file__).parent / "native" / "src" / "linear_int8.cpp"
#: Compiles what the libraries have in common once, and leaves out the one with narrow vectors.
_COMPILER = """#!/bin/sh
case "$*" in
  *-mno-avx512f*) exit 1 ;;
  *-DSAGELLM_NO_MATRIX_UNIT*) int8="{vectors}" ;;
  *) int8="{source}"; set -- "$@" '-DSAGELLM_AMX_HEADER="{emulation}"' ;;
esac
set -- "$@" -O1
for word do
  shift
  case "$last $word" in
    "-c {source}") word="$int8" ;;
    "-c "*int8*|"-c "*/api.cpp|"-c "*/probe.cpp) ;;
    "-c "*) kept="{kept}/$(basename "$word").o" ;;
    "-o "*) target="$word" ;;
  esac
  last="$word"
  set -- "$@" "$word"
done
[ -n "$kept" ] || exec c++ "$@"
if [ ! -e "$kept" ]; then
  c++ "$@" || exit 1
  cp "$target" "$kept"
fi
cp "$kept" "$target"
"""
#: Many rows take half a second more.
_SLOW = """
#define linear_int8 quick_linear_int8
#include "{source}"
#undef linear_int8
#include <unistd.h>
namespace sagellm {{
void linear_int8(const Weight& weight, const Rows& rows, float* y, int64_t ldy, Output output,
                 int thread, int threads) {{
  if (rows.rows >= 16) usleep(500000);
  quick_linear_int8(weight, rows, y, ldy, output, thread, threads);
}}
}}
"""

Build = Callable[..., str]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


@pytest.fixture
def chosen(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Compiles with an emulation of AMX, and says which instructions the library has."""
    found = Path("/proc/cpuinfo")
    present = set(found.read_text(encoding="utf-8").split()) if found.exists() else set()
    if not present.issuperset(("avx512f", "avx512bw")) or "amx_tile" in present:
        pytest.skip("needs a processor with AVX-512 and without AMX")
    if shutil.which("c++") is None:
        pytest.skip("there is no C++ compiler")

    def build(emulation: str, *, slow_vectors: bool = False) -> str:
        header, vectors, compiler = (tmp_path / name for name in ("amx.h", "slow.cpp", "compiler"))
        header.write_text(emulation, encoding="utf-8")
        vectors.write_text(_SLOW.format(source=_SOURCE), encoding="utf-8")
        script = _COMPILER.format(
            source=_SOURCE,
            vectors=vectors if slow_vectors else _SOURCE,
            emulation=header,
            kept=kept,
        )
        compiler.write_text(script, encoding="utf-8")
        compiler.chmod(0o755)
        monkeypatch.setenv("CXX", str(compiler))
        made = NativeBuild(tmp_path / "cache", 2)
        assert made.wait(300), made.problem
        assert made.library is not None
        return made.library.instructions

    return build


@pytest.fixture(scope="module")
def emulation() -> str:
    return _EMULATION.read_text(encoding="utf-8")


def test_matrices_that_are_slow_are_not_used(chosen: Build, emulation: str) -> None:
    assert chosen(emulation) in ("avx512-vnni", "avx512")


def test_matrices_that_are_quick_are_used(chosen: Build, emulation: str) -> None:
    assert chosen(emulation, slow_vectors=True).endswith("-amx")


def test_matrices_that_are_wrong_are_not_used(chosen: Build, emulation: str) -> None:
    """However slow the rest is."""
    wrong = emulation.replace("sums[n] += ", "sums[n] -= ")
    assert wrong != emulation
    assert chosen(wrong, slow_vectors=True) in ("avx512-vnni", "avx512")
