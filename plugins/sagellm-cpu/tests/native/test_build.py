"""Compiling in the background, and the cache: with real files, processes and compilers."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sagellm_cpu.native import library_cache
from sagellm_cpu.native.build import NativeBuild
from sagellm_cpu.native.compiler import CompilerError, find_compiler
from sagellm_cpu.native.library import NativeLibrary, NativePool, ThreadError

Compiler = Callable[[str], None]


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    """Makes a shell script the compiler."""

    def use(script: str) -> None:
        path = tmp_path / "a compiler"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setenv("CXX", f"'{path}'")

    return use


@pytest.fixture
def directory(compiled: Path, tmp_path: Path) -> Path:
    """A copy of the cache that holds the library."""
    return shutil.copytree(compiled, tmp_path / "cache")


def _copies(library: Path) -> str:
    """The script of a compiler that knows what to make and takes little time for it."""
    return (
        'for last; do :; done; case "$*" in *-shared*) sleep 1; '
        f'cp "{library}" "$last";; *) : > "$last";; esac'
    )


def _file(directory: Path) -> Path:
    (path,) = (directory / "native").glob("*.so")
    return path


def test_what_was_compiled_is_there_at_once(directory: Path) -> None:
    build = NativeBuild(directory, 1)
    assert build.library is not None
    assert build.problem is None


def test_a_cached_library_needs_no_compiler(
    directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert NativeBuild(directory, 1).library is not None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_not_loaded_and_removed(
    damage: str, directory: Path, compiler: Compiler, caplog: pytest.LogCaptureFixture
) -> None:
    path = _file(directory)
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes({"cut": data[:-1], "empty": b"", "text": b"!" * 100}.get(damage, data))
    key, checksum = path.stem.split("-")
    compiler("echo 'error: not today' >&2; exit 1")
    # The key names $CXX as well: the damaged file is put where this compiler would look.
    renamed = path.with_name(f"{_key()}-{checksum}.so")
    path.rename(renamed)
    assert renamed.stem != key
    build = NativeBuild(directory, 1)
    assert not build.wait(60)
    assert "not today" in (build.problem or "")
    assert not renamed.exists()
    assert "damaged" in caplog.text


def test_a_damaged_file_is_compiled_again(directory: Path) -> None:
    path = _file(directory)
    path.write_bytes(path.read_bytes()[:1000])
    build = NativeBuild(directory, 2)
    assert build.library is None
    assert build.wait(300), build.problem
    assert _file(directory).stat().st_size > 10_000


def _key() -> str:
    return library_cache.build_key(Path(library_cache.__file__).parent / "src", Path("/"))


def test_a_library_that_cannot_be_called_is_refused(
    directory: Path, compiler: Compiler, caplog: pytest.LogCaptureFixture
) -> None:
    """What the checksum says is whole may still be of another program."""
    source = directory / "other.c"
    source.write_text("int sagellm_interface(void) { return 0; }\n", encoding="utf-8")
    other = directory / "other.so"
    subprocess.run(["cc", "-shared", "-o", str(other), str(source)], check=True)
    compiler("echo 'error: gone' >&2; exit 1")
    cache = library_cache.LibraryCache(directory, _key())
    kept = cache.keep(other)
    assert kept is not None
    build = NativeBuild(directory, 1)
    assert not build.wait(60)
    assert not kept.exists()
    assert "compiled again" in caplog.text


def test_a_file_that_others_may_write_is_not_loaded(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _file(directory)
    path.chmod(0o777)
    assert library_cache.LibraryCache(directory, path.stem.split("-")[0]).find() is None
    path.chmod(0o755)
    assert library_cache.LibraryCache(directory, path.stem.split("-")[0]).find() == path
    path.parent.chmod(0o777)
    assert library_cache.LibraryCache(directory, path.stem.split("-")[0]).find() is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'x.cpp:1: error: no such thing' >&2; exit 1", "no such thing"),
        ("exit 1", "says nothing"),
        ("exit 0", ""),  # claims success and makes nothing
    ],
)
def test_a_compiler_that_fails_gives_one_notice(
    script: str,
    reason: str,
    compiler: Compiler,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    compiler(script)
    build = NativeBuild(tmp_path / "cache", 2)
    assert not build.wait(60)
    assert build.problem
    assert reason in build.problem
    notices = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(notices) == 1
    assert "Torch's operators" in notices[0].message


def test_no_compiler_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    build = NativeBuild(None, 1)
    assert not build.wait(60)
    assert "no C++ compiler" in (build.problem or "")
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    build = NativeBuild(None, 1)
    assert not build.wait(60)
    assert "no-such-compiler" in (build.problem or "")


def test_a_compiler_that_hangs_is_stopped(compiler: Compiler, tmp_path: Path) -> None:
    compiler(f"echo $$ >> {tmp_path}/started; exec sleep 1000")
    build = NativeBuild(None, 1)
    started = tmp_path / "started"
    while not started.exists() or not started.read_text().strip():
        time.sleep(0.01)
    build.stop()
    assert not build.wait(60)
    assert "stopped" in (build.problem or "") or "failed" in (build.problem or "")
    assert _is_ended(int(started.read_text().split()[0]))


def test_a_compiler_that_hangs_is_given_up_with_what_it_started(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drivers of compilers leave the work to programs that they start."""
    started = tmp_path / "started"
    compiler(f"sleep 1000 & echo $! >> {started}; wait")
    patched = f"""
        import sys
        from sagellm_cpu.native import build, compiler
        compiler._PROBE_PATIENCE = 0.5
        build.main({str(tmp_path / "cache")!r}, "1")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(patched)],
        capture_output=True,
        text=True,
        timeout=100,
        start_new_session=True,
        check=False,
    )
    assert done.stdout.startswith("failed: ")
    assert "took more than 0.5 s" in done.stdout
    (pid,) = started.read_text().split()  # asked once, not once more with other flags
    assert _is_ended(int(pid))


def test_a_library_that_crashes_is_not_this_process_end(
    compiler: Compiler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where it cannot be kept."""
    source, crashing = tmp_path / "crash.c", tmp_path / "crash.so"
    source.write_text(
        "#include <stdlib.h>\n__attribute__((constructor)) void crash(void) { abort(); }\n",
        encoding="utf-8",
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(crashing), str(source)], check=True)
    compiler(_copies(crashing))
    build = NativeBuild(None, 1)
    assert not build.wait(100)
    assert "the process that compiles ended with -6" in (build.problem or "")
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1


def test_without_threads_a_good_library_stays(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoThreads(NativeLibrary):
        def pool(self, threads: int) -> NativePool:
            raise ThreadError(f"{threads} threads could not be started")

    monkeypatch.setattr("sagellm_cpu.native.build.NativeLibrary", NoThreads)
    build = NativeBuild(directory, 1)
    assert not build.wait(60)
    assert build.problem == "2 threads could not be started"
    assert _file(directory).exists()


def test_a_directory_that_cannot_be_written(
    tmp_path: Path, compiled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The library is used all the same, and said to be compiled at each start."""
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file", encoding="utf-8")
    cache = library_cache.LibraryCache(in_the_way, "0" * 32)
    assert cache.find() is None
    assert not cache.writable()
    assert cache.keep(_file(compiled)) is None
    assert "SAGELLM_CACHE_DIR" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk(tmp_path: Path, compiled: Path) -> None:
    """Files may grow to 1,000 bytes: as on a disk that is full then."""
    program = """
        import resource, sys
        from pathlib import Path
        from sagellm_cpu.native.library_cache import LibraryCache
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        cache = LibraryCache(Path(sys.argv[1]), "0" * 32)
        assert cache.keep(Path(sys.argv[2])) is None
        assert cache.find() is None
        print(sorted(path.name for path in cache.folder.iterdir()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), str(_file(compiled))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_what_cannot_be_kept_is_compiled_here_and_used(
    compiled: Path, compiler: Compiler, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that fills up meanwhile: the process that compiles can hand nothing over."""
    compiler(_copies(_file(compiled)))
    cache = tmp_path / "cache" / "native"
    # A folder lies where the file would have to be.
    (cache / f"{_key()}-{_file(compiled).stem.split('-')[1]}.so").mkdir(parents=True)
    cache.chmod(0o700)
    build = NativeBuild(tmp_path / "cache", 1)
    assert build.wait(100), build.problem
    notices = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(notices) == 1
    assert "not kept" in notices[0]


@pytest.mark.parametrize("asked", ["'", '"c++', "c++ \\"])
def test_a_command_that_cannot_be_read(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", asked)
    with pytest.raises(CompilerError, match="is no command"):
        find_compiler()


def test_two_processes_compile_once(compiled: Path, compiler: Compiler, tmp_path: Path) -> None:
    """The second waits for the first and takes what it made."""
    log = tmp_path / "links"
    compiler(f'case "$*" in *-shared*) echo $PPID >> {log};; esac; {_copies(_file(compiled))}')
    program = """
        import sys
        from pathlib import Path
        from sagellm_cpu.native.build import NativeBuild
        build = NativeBuild(Path(sys.argv[1]), 1)
        assert build.wait(300), build.problem
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "cache")]
    pair = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(300) for process in pair] == [0, 0]
    assert len(set(log.read_text(encoding="utf-8").split())) == 1


def test_a_process_ends_while_it_compiles(compiler: Compiler, tmp_path: Path) -> None:
    compiler(f"echo $$ > {tmp_path}/started; exec sleep 1000")
    program = f"""
        import time
        from pathlib import Path
        from sagellm_cpu.native.build import NativeBuild
        build = NativeBuild(None, 1)
        while not Path({str(tmp_path / "started")!r}).exists():
            time.sleep(0.01)
    """
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=True,
        timeout=100,
        capture_output=True,
        text=True,
    )
    assert time.monotonic() - began < 60
    assert done.stderr == ""
    pid = int((tmp_path / "started").read_text(encoding="utf-8"))
    assert _is_ended(pid)


def _is_ended(pid: int) -> bool:
    """Within five seconds."""
    for _ in range(500):
        if "zombie" in _state(pid):
            return True
        time.sleep(0.01)
    return False


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return "zombie"


def test_a_short_process_leaves_the_library_for_the_next(
    compiled: Path, compiler: Compiler, tmp_path: Path
) -> None:
    """It ends at once; what compiles goes on without it."""
    compiler(_copies(_file(compiled)))
    program = """
        import sys
        from pathlib import Path
        from sagellm_cpu.native.build import NativeBuild
        import time
        NativeBuild(Path(sys.argv[1]), 2)
        time.sleep(0.5)
    """
    cache = tmp_path / "cache"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(cache)],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stderr == ""
    for _ in range(3000):
        if library_cache.LibraryCache(cache, _key()).find() is not None:
            assert NativeBuild(cache, 2).library is not None
            return
        time.sleep(0.05)
    pytest.fail("nothing was left")
