"""The native library of this process: loaded from the cache, or compiled behind the caller's back.

The first answer never waits for a compiler: until :attr:`NativeBuild.library` is there, models
compute with torch's own operators.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Lock, Thread
from time import sleep

from .choice import PROMPTS, fastest
from .compiler import Compilation, CompilerError, find_compiler
from .library import LibraryError, NativeLibrary, ThreadError
from .library_cache import LibraryCache, build_key
from .verification import check

_log = logging.getLogger("sagellm.cpu")
_SOURCES = Path(__file__).parent / "src"
#: What a process that compiles says last.
_BUILT, _BUSY, _FAILED = "built", "busy", "failed: "
#: Seconds between two looks at what another process compiles.
_POLL = 0.3
#: Bytes that compiling may take of a disk.
_ROOM = 64 * 2**20


class NativeBuild:
    """One library on its way. Use :func:`native_build`."""

    def __init__(self, directory: Path | None, jobs: int, root: Path = Path("/")) -> None:
        self._directory = directory
        self._cache = LibraryCache(directory, build_key(_SOURCES, root))
        self._process = os.getpid()
        self._done = Event()
        self._library: NativeLibrary | None = None
        self._problem: str | None = None
        #: What compiles for this process alone: here, or in a process of its own.
        self._compilation: Compilation | None = None
        self._builder: subprocess.Popen[str] | None = None
        self._stopped = False
        self._jobs = jobs
        self._take_cached()
        if not self._done.is_set():
            Thread(target=self._build, name="sagellm-cpu-compile", daemon=True).start()

    @property
    def library(self) -> NativeLibrary | None:
        """The library, as soon as it is there."""
        return self._library

    @property
    def problem(self) -> str | None:
        """Why there will be none, in one sentence; ``None``: there is one, or it is on its way."""
        return self._problem

    @property
    def orphaned(self) -> bool:
        """Whether this is the child of a process that was still compiling when it forked."""
        return self._process != os.getpid() and not self._done.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is decided, at most ``timeout`` seconds; whether there is a library."""
        self._done.wait(timeout)
        return self._library is not None

    def stop(self) -> None:
        """End the compiler, if it runs for this process alone."""
        if self._process != os.getpid():
            return
        self._stopped = True
        if self._compilation is not None:
            self._compilation.stop()
        if self._builder is not None:
            _end_group(self._builder)

    def _take_cached(self) -> None:
        path = self._cache.find()
        if path is None:
            return
        try:
            self._finish(_load(path), None)
        except ThreadError as error:  # and there is nothing wrong with the file
            self._finish(None, str(error))
        except LibraryError as error:
            _log.warning("%s; the kernels are compiled again.", error)
            self._cache.discard(path)

    def _build(self) -> None:
        try:
            if not sys.executable:
                self._finish(self._compile(), None)
            elif not (self._cache.writable() and self._build_apart()):
                self._finish(self._build_unkept(), None)
        except (CompilerError, LibraryError, OSError) as error:
            self._finish(None, str(error))
        except Exception as error:
            # Whoever waits has to hear of it.
            self._finish(None, f"{type(error).__name__}: {error}")
            raise

    def _build_apart(self) -> bool:
        """Let a process of its own compile, which goes on when this one ends before it.

        ``False``: it could compile, and not hand over what it made.
        """
        while True:
            with self._cache.exclusively() as free:
                pass  # another process may be at it: then there is no need of a third
            said = _answer_of(_start_builder(self._directory, self._jobs)) if free else _BUSY
            self._take_cached()
            if self._done.is_set():
                return True
            if said == _BUILT:  # and there was no room to keep it
                return False
            if said != _BUSY:
                raise CompilerError(said.removeprefix(_FAILED))
            sleep(_POLL)

    def _build_unkept(self) -> NativeLibrary:
        """Let a process of its own compile for this one alone.

        A library that crashes is its own end then, and not this one's.
        """
        with _scratch(self._cache.folder) as scratch:
            atexit.register(self.stop)
            self._builder = _start_builder(scratch, self._jobs, TMPDIR=str(scratch))
            if self._stopped:
                _end_group(self._builder)
            said = _answer_of(self._builder)
            if self._stopped:
                raise CompilerError("it was stopped")
            if said != _BUILT:
                raise CompilerError(said.removeprefix(_FAILED))
            made = LibraryCache(scratch, build_key(_SOURCES, Path("/"))).find()
            if made is None:
                raise CompilerError(f"what was compiled in {scratch} is gone")
            # From the cache, where there is one: the other place may forbid to run programs.
            return _load(self._cache.keep(made) or made)

    def _compile(self) -> NativeLibrary:
        self._compilation = Compilation(find_compiler(), self._jobs)
        atexit.register(self.stop)
        return _compile(self._compilation, self._cache)

    def _finish(self, library: NativeLibrary | None, problem: str | None) -> None:
        self._library, self._problem = library, problem
        if problem is not None and not self._stopped:
            _log.warning(
                "The fast kernels are not used: %s. Torch's operators go on computing.",
                problem,
            )
        self._done.set()


_builds: dict[Path | None, NativeBuild] = {}
_lock = Lock()


def native_build(directory: Path | None, jobs: int) -> NativeBuild:
    """The library of this process, one for each cache directory; begins to compile it if need be.

    :param directory: the cache; ``None``: nothing is kept.
    :param jobs: compilers that run at once.
    """
    with _lock:
        build = _builds.get(directory)
        if build is None or build.orphaned:
            build = _builds[directory] = NativeBuild(directory, jobs)
        return build


def _after_fork() -> None:
    # Another thread of the parent may have held it.
    global _lock
    _lock = Lock()


os.register_at_fork(after_in_child=_after_fork)


def _compile(compilation: Compilation, cache: LibraryCache) -> NativeLibrary:
    with _scratch(cache.folder) as scratch:
        built = _fastest(compilation, scratch)
        # From the cache, where there is one: the other place may forbid to run programs.
        kept = cache.keep(built)
        try:
            return _load(kept or built)
        except ThreadError:
            raise
        except LibraryError:
            if kept is not None:
                cache.discard(kept)
            raise


def _fastest(compilation: Compilation, scratch: Path) -> Path:
    """What to keep: compiled for all instructions, or without those that slow this one down."""
    best = _compiled(compilation, scratch / "all")
    try:
        library = NativeLibrary(best)
        if library.multiplies_matrices:
            plain = _load(_compiled(compilation, scratch / "plain", "-DSAGELLM_NO_MATRIX_UNIT"))
            best = plain.path
            check(library)
            library = fastest([plain, library], PROMPTS)
            best = library.path
        else:
            check(library)
        if library.instructions.startswith("avx512"):
            # Some processors lower their clock for wide vectors, or halve them inside.
            narrow = _compiled(compilation, scratch / "narrow", "-mno-avx512f")
            best = fastest([library, _load(narrow)]).path
    except (CompilerError, LibraryError) as error:
        if compilation.stopped:
            raise
        _log.debug("Kernels are not compared: %s.", error)
    return best


def _start_builder(directory: Path | None, jobs: int, **variables: str) -> subprocess.Popen[str]:
    """Compile into a cache directory in a process of its own, with these in its environment."""
    script = "import sys; from sagellm_cpu.native.build import main; main(*sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", script, str(directory), str(jobs)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Ctrl-C is for the program that waits for answers.
        start_new_session=True,
        text=True,
    )


def _answer_of(builder: subprocess.Popen[str]) -> str:
    """What it said last."""
    said, _ = builder.communicate()
    lines = said.splitlines()
    return lines[-1] if lines else f"the process that compiles ended with {builder.returncode}"


def _end_group(builder: subprocess.Popen[str]) -> None:
    """End it with the compilers that it started."""
    if builder.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(builder.pid, signal.SIGKILL)


def main(directory: str, jobs: str) -> None:
    """Compile into a cache directory, and say how it went; what a process of its own does."""
    cache = LibraryCache(Path(directory), build_key(_SOURCES, Path("/")))
    said = _BUILT
    with cache.exclusively() as alone:
        if not alone:
            said = _BUSY
        elif cache.find() is None:
            try:
                _compile(Compilation(find_compiler(), int(jobs)), cache)
            except (CompilerError, LibraryError, OSError) as error:
                said = _FAILED + str(error).replace("\n", " ")
            except Exception as error:
                # A mistake of ours: whoever asked has to hear of it too.
                said = f"{_FAILED}{type(error).__name__}: {error}".replace("\n", " ")
    # Who asked may have ended.
    with contextlib.suppress(OSError):
        os.write(1, f"{said}\n".encode())
    if os.getpgrp() == os.getpid():
        # With what a compiler that was ended may have left behind.
        os.killpg(0, signal.SIGKILL)


def _load(path: Path) -> NativeLibrary:
    library = NativeLibrary(path)
    check(library)
    return library


def _compiled(compilation: Compilation, scratch: Path, *flags: str) -> Path:
    scratch.mkdir()
    built = scratch / "kernels.so"
    compilation.build(sorted(_SOURCES.glob("*.cpp")), built, scratch, *flags)
    if not built.exists():
        raise CompilerError(f"{compilation.command[0]} made no library")
    return built


@contextlib.contextmanager
def _scratch(cache: Path | None) -> Iterator[Path]:
    """An empty directory with room to compile in, for a while."""
    with tempfile.TemporaryDirectory(
        prefix="sagellm-", dir=_roomy(cache), ignore_cleanup_errors=True
    ) as scratch:
        yield Path(scratch)


def _roomy(cache: Path | None) -> Path:
    """A directory to compile in."""
    places: Sequence[Path | None] = (Path(tempfile.gettempdir()), cache)
    for place in places:
        try:
            if place is not None and shutil.disk_usage(place).free >= _ROOM:
                return place
        except OSError:
            continue
    raise CompilerError(f"there is no room to compile in {tempfile.gettempdir()}")
