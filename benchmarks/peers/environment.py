"""Environments of the peers, made when first needed and kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .process import PeerError

_CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
_LAST_WORDS = 600


def environment_python(base: Path, name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment that has ``requirements``, all of them pinned.

    :raises PeerError: it cannot be made; the message has pip's last words.
    """
    place = base / name
    python = place / "bin" / "python"
    # Written last: an environment without it was interrupted half way.
    mark = place / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted:
        return python
    base.mkdir(parents=True, exist_ok=True)
    run([sys.executable, "-m", "venv", "--clear", str(place)])
    # The constraints keep torch at a build without gigabytes of GPU libraries.
    run([str(python), "-m", "pip", "install", "-q", "-c", str(_CONSTRAINTS), *requirements])
    mark.write_text(wanted, encoding="utf-8")
    return python


def run(command: Sequence[str]) -> None:
    """Run it from the checkout's root.

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
