"""The native library of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from sagellm_cpu.native.build import NativeBuild
from sagellm_cpu.native.library import NativeLibrary


@pytest.fixture(scope="session")
def loaded(compiled: Path) -> NativeLibrary:
    """The library itself."""
    library = NativeBuild(compiled, 2).library
    assert library is not None
    return library
