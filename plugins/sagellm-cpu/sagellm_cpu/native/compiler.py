"""The compiler of this machine, if it has one. No torch."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread

_COMMON = ("-O3", "-std=c++17", "-fPIC", "-pthread")
#: What makes compilers use all instructions of this processor, most usual first.
_TUNING = (("-march=native",), ("-mcpu=native",), ())
#: Seconds that one file may take, and an empty one.
_PATIENCE, _PROBE_PATIENCE = 120.0, 30.0


class CompilerError(Exception):
    """There is no compiler, or it does not compile; the message says why."""


class CompilerHangsError(CompilerError):
    """It takes so long that it is not asked again."""


def find_compiler() -> tuple[str, ...]:
    """The command of a C++ compiler: ``$CXX``, which may have arguments, or a usual name.

    :raises CompilerError: there is none.
    """
    asked = os.environ.get("CXX")
    if asked:
        try:
            words = shlex.split(asked)
        except ValueError as error:  # a quotation without its end
            raise CompilerError(f"CXX={asked!r} is no command: {error}") from error
        path = shutil.which(words[0]) if words else None
        if path is None:
            raise CompilerError(f"CXX={asked!r} names no program")
        return (path, *words[1:])
    for name in ("c++", "g++", "clang++"):
        path = shutil.which(name)
        if path is not None:
            return (path,)
    raise CompilerError("there is no C++ compiler (c++, g++, clang++)")


@dataclass(slots=True)
class Compilation:
    """One library being compiled; :meth:`stop` ends it from another thread."""

    command: Sequence[str]
    #: Compilers that run at once.
    jobs: int
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)
    _stopped: bool = False

    def build(self, sources: Sequence[Path], target: Path, scratch: Path, *more: str) -> None:
        """Compile and link.

        :param scratch: an empty directory for what lies between.
        :param more: flags after those that choose all instructions of this processor.
        :raises CompilerError: the compiler fails, hangs or was stopped.
        """
        tuning = (*self._tuning(scratch), *more)

        def compile_one(source: Path) -> str:
            product = str(scratch / f"{source.stem}.o")
            self._run([*_COMMON, *tuning, "-c", str(source), "-o", product])
            return product

        objects = _each(compile_one, sources, self.jobs)
        self._run([*_COMMON, *tuning, "-shared", *objects, "-o", str(target)])

    @property
    def stopped(self) -> bool:
        """Whether it was stopped."""
        return self._stopped

    def stop(self) -> None:
        """End what is running."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            process.kill()

    def _tuning(self, scratch: Path) -> tuple[str, ...]:
        probe, product = scratch / "probe.cpp", str(scratch / "probe.o")
        probe.write_text("int main() { return 0; }\n", encoding="utf-8")
        for flags in _TUNING[:-1]:
            try:
                self._run([*flags, "-c", str(probe), "-o", product], _PROBE_PATIENCE)
            except CompilerHangsError:
                raise
            except CompilerError:
                if self._stopped:
                    raise
                continue
            return flags
        return _TUNING[-1]

    def _run(self, arguments: Sequence[str], patience: float = _PATIENCE) -> None:
        with self._lock:
            if self._stopped:
                raise CompilerError("it was stopped")
            process = self._start(arguments)
            self._running.add(process)
        try:
            _, errors = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise CompilerHangsError(f"{self.command[0]} took more than {patience:g} s") from None
        finally:
            with self._lock:
                self._running.discard(process)
        if process.returncode:
            raise CompilerError(f"{self.command[0]} failed: {_first_error(errors)}")

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        # Behind whatever else the machine does: the model answers meanwhile.
        nice = shutil.which("nice")
        polite = [nice, "-n", "10"] if nice else []
        try:
            return subprocess.Popen(
                [*polite, *self.command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise CompilerError(f"{self.command[0]} does not start: {error}") from error


def _each(compile_one: Callable[[Path], str], sources: Sequence[Path], jobs: int) -> list[str]:
    """In threads that an interpreter which ends does not wait for, unlike those of an executor."""
    left = list(reversed(sources))
    made: list[str] = []
    failures: list[CompilerError] = []

    def work() -> None:
        while not failures:
            try:
                source = left.pop()
            except IndexError:
                return
            try:
                made.append(compile_one(source))
            except CompilerError as error:
                failures.append(error)

    threads = [Thread(target=work, daemon=True) for _ in range(max(1, jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sorted(made)


def _first_error(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").splitlines()
    return next(_with("error", lines), lines[0] if lines else "it says nothing").strip()[:300]


def _with(word: str, lines: Sequence[str]) -> Iterator[str]:
    return (line for line in lines if word in line)
