"""Environments of the peers, made when first needed and kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .process import PeerError

_CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
_LAST_WORDS = 600
_NEEDS = """
import re, sys
from importlib.metadata import requires
name, *without = sys.argv[1:]
for need in requires(name):
    found = re.match(r"[\\w.-]+", need)[0].lower().replace("_", "-")
    if "extra ==" not in need and found not in without:
        print(need)
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """What is installed for a peer."""

    #: Its folder.
    name: str
    requirements: tuple[str, ...]
    #: Installed without what it requires, and then all of that but :attr:`except_for`.
    needs_of: str = ""
    except_for: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """Changes when anything to install does."""
        lines = [*self.requirements]
        if self.needs_of:
            lines.append(f"needs of {self.needs_of} except for {', '.join(self.except_for)}")
        return "\n".join(lines) + "\n"


def environment_python(base: Path, wanted: Environment) -> Path:
    """The interpreter of an environment below ``base`` that has what is wanted.

    :raises PeerError: it cannot be made; the message has pip's last words.
    """
    place = base / wanted.name
    python = place / "bin" / "python"
    # Written last: an environment without it was interrupted half way.
    mark = place / "installed.txt"
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted.mark:
        return python
    base.mkdir(parents=True, exist_ok=True)
    run([sys.executable, "-m", "venv", "--clear", str(place)])
    # The constraints keep torch at a build without gigabytes of GPU libraries.
    install = [str(python), "-m", "pip", "install", "-q", "-c", str(_CONSTRAINTS)]
    needs: list[str] = []
    if wanted.needs_of:
        run([*install, "--no-deps", wanted.needs_of])
        dist = wanted.needs_of.partition("==")[0]
        needs = run([str(python), "-c", _NEEDS, dist, *wanted.except_for]).splitlines()
    run([*install, *wanted.requirements, *needs])
    mark.write_text(wanted.mark, encoding="utf-8")
    return python


def run(command: Sequence[str]) -> str:
    """Run it from the checkout's root.

    :returns: what it printed.
    :raises PeerError: it failed.
    """
    done = subprocess.run(
        list(command),
        cwd=_CONSTRAINTS.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        what = " ".join(command[:4])
        raise PeerError(
            f"{what} ... ended with exit code {done.returncode}: "
            f"{done.stdout.strip()[-_LAST_WORDS:]}"
        )
    return done.stdout
