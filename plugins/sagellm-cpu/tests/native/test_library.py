"""Linear layers of the compiled library, and its threads."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from sagellm_cpu.native.library import LibraryError, NativeLibrary
from sagellm_cpu.native.linear import NativeLinear
from sagellm_cpu.native.weight import pack_dense


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_merged_layers_with_biases(loaded, dtype, threads) -> None:
    made = torch.Generator().manual_seed(3)
    parts = [torch.randn(out, 50, generator=made).to(dtype) for out in (7, 33, 1)]
    bias = torch.randn(41, generator=made)
    layer = NativeLinear(pack_dense(loaded, parts, bias), loaded.pool(threads))
    x = torch.randn(9, 50, generator=made)
    expected = torch.nn.functional.linear(x, torch.cat(parts).float(), bias)
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    # Rows of a wider tensor are not side by side.
    wide = torch.randn(9, 60, generator=made)
    expected = torch.nn.functional.linear(wide[:, 3:53], torch.cat(parts).float(), bias)
    torch.testing.assert_close(layer(wide[:, 3:53]), expected, atol=1e-5, rtol=1e-5)
    rows = torch.tensor([40, 0, 8])
    assert torch.equal(layer.weight.unpack_rows(rows), torch.cat(parts).float()[rows])


def test_many_callers_of_one_pool(loaded) -> None:
    layer = NativeLinear(pack_dense(loaded, [torch.eye(64)], None), loaded.pool(3))

    def call(seed: int) -> bool:
        x = torch.randn(5, 64, generator=torch.Generator().manual_seed(seed))
        return all(torch.equal(layer(x), x) for _ in range(50))

    with ThreadPoolExecutor(6) as callers:
        assert all(callers.map(call, range(12)))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(loaded) -> None:
    layer = NativeLinear(pack_dense(loaded, [torch.eye(64)], None), loaded.pool(3))
    x = torch.ones(5, 64)
    assert torch.equal(layer(x), x)
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(layer(x), x) and torch.equal(layer(x), x) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(layer(x), x)


def test_more_threads_than_processors_get_on(loaded) -> None:
    layer = NativeLinear(pack_dense(loaded, [torch.eye(64)], None), loaded.pool(16))
    x = torch.ones(40, 64)
    for _ in range(100):
        assert torch.equal(layer(x), x)


def test_threads_that_cannot_be_started(compiled: Path) -> None:
    """A limit on processes, as containers set it, is an error and not the end of the process."""
    (path,) = (compiled / "native").glob("*.so")
    program = """
        import os, resource, sys
        from pathlib import Path
        import torch
        from sagellm_cpu.native.library import LibraryError, NativeLibrary
        library = NativeLibrary(Path(sys.argv[1]))
        os.setuid(54321)  # limits do not hold for the administrator
        resource.setrlimit(resource.RLIMIT_NPROC, (3, 3))
        try:
            library.pool(64)
        except LibraryError as error:
            print(error)
    """
    if os.geteuid() != 0:
        pytest.skip("only the administrator can become a user without other processes")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "64 threads" in done.stdout


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(b"not a library")
    with pytest.raises(LibraryError, match="cannot be loaded"):
        NativeLibrary(path)
