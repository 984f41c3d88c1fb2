"""Libraries in the places of CANN's, so that the real torch_npu can be imported without CANN.

``python stub_libraries.py FOLDER`` looks at which libraries the installed wheel of torch_npu needs
and which symbols nobody else defines, and compiles a library in which each of them is a function
that returns 0. With FOLDER on LD_LIBRARY_PATH torch_npu loads, finds no NPU, and has all of its
operators with their schemas and Meta kernels. Needs a C compiler and binutils; imports no torch.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

_NEEDED = re.compile(r"\(NEEDED\).*\[(.+)\]")
#: What the interpreter itself defines.
_PYTHON = re.compile(r"_?Py")


def main(folder: Path) -> None:
    """Make the libraries and say what they stand for."""
    own = Path(str(distribution("torch-npu").locate_file("torch_npu")))
    torch = Path(str(distribution("torch").locate_file("torch"))) / "lib"
    libraries, missing = _closure(next(own.glob("_C*.so")), own / "lib", torch)
    defined = _symbols("--defined-only", [*libraries, *torch.glob("*.so*")])
    wanted = _symbols("--undefined-only", libraries)
    symbols = sorted(name for name in wanted - defined if not _PYTHON.match(name))
    _compile(folder, missing, symbols)
    print(f"{len(symbols)} symbols of {', '.join(missing)} in {folder}")


def _closure(first: Path, *folders: Path) -> tuple[list[Path], list[str]]:
    """What a library loads of its own distribution, and the names of those that are nowhere."""
    own, missing, queue = [first], [], [first]
    while queue:
        for name in _needed(queue.pop()):
            found = next((place / name for place in folders if (place / name).exists()), None)
            if found is not None and found.parent == folders[0] and found not in own:
                own.append(found)
                queue.append(found)
            if found is None and name not in missing and not _loads(name):
                missing.append(name)
    return own, sorted(missing)


def _needed(library: Path) -> list[str]:
    return _NEEDED.findall(_run("readelf", "--dynamic", "--wide", str(library)))


def _loads(name: str) -> bool:
    """Whether the system has a library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _symbols(which: str, libraries: Iterable[Path]) -> set[str]:
    """Names of dynamic symbols, but for those with versions: the C and C++ libraries' own."""
    found = set()
    for library in libraries:
        for line in _run("nm", "--dynamic", which, str(library)).splitlines():
            *_, kind, name = line.split()
            if "@" not in name and kind not in "wv":
                found.add(name)
    return found


def _compile(folder: Path, names: list[str], symbols: list[str]) -> None:
    """All functions in the first library; loading the others is enough."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "stubs.c"
    compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
    for name in names:
        lines = [f"long {symbol}(void) {{ return 0; }}" for symbol in symbols]
        source.write_text("\n".join(lines if name == names[0] else ["extern int nothing;"]) + "\n")
        _run(
            compiler,
            "-w",
            "-fno-builtin",
            "-shared",
            "-fPIC",
            "-o",
            str(folder / name),
            str(source),
        )


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
