"""The native library of this machine, compiled once for all tests of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sagellm_cpu.native.build import NativeBuild
from sagellm_cpu.native.compiler import CompilerError, find_compiler
from sagellm_cpu.native.library import NativeLibrary


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory that holds the library."""
    try:
        find_compiler()
    except CompilerError as error:
        pytest.skip(str(error))
    directory = tmp_path_factory.mktemp("compiled")
    build = NativeBuild(directory, 2)
    assert build.wait(300), build.problem
    return directory


@pytest.fixture(scope="session")
def loaded(compiled: Path) -> NativeLibrary:
    """The library itself."""
    library = NativeBuild(compiled, 2).library
    assert library is not None
    return library
