"""Instructions that multiply matrices of bytes: the same bits as without them.

Those that this processor lacks are compiled, and computed with where something emulates them.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sagellm_cpu
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_SOURCES = Path(sagellm_cpu.__file__).parent / "native" / "src"
_HERE = Path(__file__).parent
_COMMON = ("-O1", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{_SOURCES}")
_UNIT = _SOURCES / "linear_int8_matrix.cpp"
_REST = (
    *(_SOURCES / name for name in ("pack_codes.cpp", "quantise_row.cpp", "linear_int8.cpp")),
    _HERE / "comparison.cpp",
)
_AMX = ("-march=x86-64-v4", "-mamx-tile", "-mamx-int8")
_TRAPS = f'-DSAGELLM_AMX_HEADER="{_HERE / "trapped_amx.h"}"'


def _flags_of_this_machine() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return set()


def _compiled(command: list[str], sources: tuple[Path, ...], folder: Path) -> list[str]:
    folder.mkdir()
    subprocess.run([*command, *_COMMON, "-c", *map(str, sources)], check=True, cwd=folder)
    return [str(path) for path in folder.glob("*.o")]


@pytest.fixture(scope="module")
def amx_compiler() -> list[str]:
    """The command of a compiler that knows AMX."""
    found = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if found is None or platform.machine() != "x86_64":
        pytest.skip("there is no compiler for x86")
    command = [*found.split(), *_AMX]
    probe = [*command, "-x", "c++", "-fsyntax-only", os.devnull]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip(f"{found} does not know AMX")
    return command


@pytest.fixture(scope="module")
def amx_objects(amx_compiler: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The program that compares many rows with each of them alone, without their kernel."""
    if not _flags_of_this_machine().issuperset(("avx512f", "avx512bw", "avx512vl", "avx512dq")):
        pytest.skip("this processor lacks AVX-512")
    return _compiled(amx_compiler, _REST, tmp_path_factory.mktemp("amx") / "objects")


def _said(command: list[str], objects: list[str], folder: Path, *flags: str) -> str:
    """What the program says with a kernel for many rows that is compiled with these flags."""
    kernel = _compiled([*command, *flags], (_UNIT,), folder / "kernel")
    program = folder / "comparison"
    subprocess.run([*command, *objects, *kernel, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


_shapes = st.fixed_dictionaries(
    {
        "bits": st.sampled_from((8, 4)),
        "out": st.integers(1, 70),
        "group": st.sampled_from((0, 8, 32, 64, 72, 128, 320)),
        "width": st.integers(1, 9),
        "odd": st.integers(1, 400),
        "mins": st.booleans(),
        "bias": st.booleans(),
        "half": st.booleans(),
        "rows": st.integers(8, 70),
        "threads": st.integers(1, 3),
        "onto": st.booleans(),
        "seed": st.integers(0, 1000),
    }
)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(_shapes)
def test_many_rows_are_each_row_to_the_last_bit(
    kernels: Any, layer: Any, shape: dict[str, int]
) -> None:
    if not kernels.matrices:
        pytest.skip("a variant without such instructions")
    made = layer.drawn(shape)
    inputs = made.codes.shape[1]
    rng = np.random.default_rng(shape["seed"])
    x = rng.standard_normal((shape["rows"], inputs)).astype(np.float32)
    onto = rng.standard_normal((shape["rows"], shape["out"])).astype(np.float32)
    kept = onto if shape["onto"] else None
    together = kernels.linear(made, x, threads=shape["threads"], onto=kept)
    for row in range(shape["rows"]):
        alone = None if kept is None else kept[row : row + 1]
        assert np.array_equal(kernels.linear(made, x[row : row + 1], onto=alone)[0], together[row])


def test_tiles_are_compiled_for_processors_that_have_them(
    amx_compiler: list[str], tmp_path: Path
) -> None:
    def words(*flags: str) -> set[str]:
        assembly = tmp_path / "tiles.s"
        command = [*amx_compiler, *_COMMON, *flags, "-S", str(_UNIT), "-o", str(assembly)]
        subprocess.run(command, check=True)
        return set(assembly.read_text(encoding="utf-8").split())

    tiles = {"ldtilecfg", "tilezero", "tileloadd", "tdpbssd", "tilestored", "tilerelease"}
    assert tiles <= words()
    assert not tiles & words("-DSAGELLM_NO_MATRIX_UNIT")


def test_what_is_compiled_for_tiles_computes(
    amx_compiler: list[str], amx_objects: list[str], tmp_path: Path
) -> None:
    """The instructions themselves: a signal's handler does those that the processor lacks."""
    if "amx_tile" in _flags_of_this_machine():
        pytest.skip("this processor has them: nothing is trapped")
    said = _said(amx_compiler, amx_objects, tmp_path, _TRAPS)
    assert said.endswith("are equal with amx\n")


def test_where_the_system_has_no_tiles_there_are_vectors(
    amx_compiler: list[str], amx_objects: list[str], tmp_path: Path
) -> None:
    """The same without a handler: tiles are used only where the system lets us."""
    said = _said(amx_compiler, amx_objects, tmp_path)
    has_tiles = "amx_int8" in _flags_of_this_machine()
    assert said.endswith("are equal with amx\n" if has_tiles else "are equal with \n")


def test_arm(tmp_path: Path) -> None:
    """By a compiler for it, and QEMU."""
    compiler, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip("there is no compiler or no emulator for Arm")
    command = [compiler, "-march=armv8.2-a+dotprod+i8mm", "-static"]
    objects = _compiled(command, (*_REST, _UNIT), tmp_path / "objects")
    program = tmp_path / "comparison"
    subprocess.run([*command, *objects, "-o", str(program)], check=True)
    done = subprocess.run(
        [emulator, "-cpu", "max", str(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("are equal with i8mm\n")
