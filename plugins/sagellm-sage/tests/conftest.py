"""Programs of their own for what imports and processes do, and SAGEs in miniature.

The miniature SAGEs have the layout, the base class and the import order of the real ones, and
nothing else; ``real/`` runs the real ones where they are installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

_BASE = """
class BaseFunction:
    __state_exclude__ = ["ctx", "_logger", "logger"]

    def __init__(self, *args, **kwargs):
        self.ctx = None
        self._logger = None

    @property
    def name(self):
        return type(self).__name__ if self.ctx is None else self.ctx.name

    def get_state(self):
        return {key: value for key, value in vars(self).items() if not key.startswith("_")
                and key not in self.__state_exclude__}

    def restore_state(self, state):
        for key, value in state.items():
            setattr(self, key, value)


class MapFunction(BaseFunction):
    pass
"""

#: As isage 0.3: no package where sagellm has its modules.
_ISAGE = {"foundation/__init__.py": _BASE}

#: As isage-common and isage-kernel 0.2: regular packages at both import paths.
_KERNEL = {
    "common/__init__.py": "from . import model_registry",
    "common/model_registry/__init__.py": "from . import sagellm_registry",
    "common/model_registry/sagellm_registry.py": "OWNER = 'sage'",
    "common/core/__init__.py": "",
    "common/core/functions/__init__.py": _BASE,
    "middleware/__init__.py": "",
    "middleware/operators/__init__.py": """
        from sage.middleware.operators.llm.sagellm_generator import SageLLMGenerator
        from . import llm
    """,
    "middleware/operators/llm/__init__.py": """
        from sage.middleware.operators.llm.sagellm_generator import SageLLMGenerator
    """,
    "middleware/operators/llm/sagellm_generator.py": """
        from sage.common.core.functions import MapFunction

        class SageLLMGenerator(MapFunction):
            pass
    """,
}


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        place = root / "sage" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(textwrap.dedent(text))
    return root


@pytest.fixture
def isage(tmp_path: Path) -> Path:
    """A directory for ``sys.path`` with the layout of isage 0.3."""
    return _tree(tmp_path / "isage", _ISAGE)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A directory for ``sys.path`` with the layout of isage-kernel 0.2."""
    return _tree(tmp_path / "kernel", _KERNEL)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run Python in a process of its own: ``run("-c", code, path=[...])``.

    ``HOME`` is elsewhere; a program that fails is a failed test, unless ``fails=True``.
    """

    def run(*arguments: str, path: tuple[Path, ...] = (), fails: bool = False, seconds: float = 60):
        # The installation under test comes with the interpreter; `path` goes before it.
        environment = os.environ | {
            "HOME": str(tmp_path),
            "PYTHONPATH": os.pathsep.join([*map(str, path), os.environ.get("PYTHONPATH", "")]),
        }
        done = subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            capture_output=True,
            text=True,
            timeout=seconds,
            env=environment,
            cwd=tmp_path,
            check=False,
        )
        assert fails or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def check(run: Run) -> Callable[..., str]:
    """Run dedented code in a process of its own; its standard output."""

    def check(code: str, *path: Path) -> str:
        return run("-c", textwrap.dedent(code), path=path).stdout

    return check
