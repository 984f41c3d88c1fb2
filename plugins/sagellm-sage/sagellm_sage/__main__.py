"""``python -m sagellm_sage SCRIPT [ARGS]``: run a program with :func:`~sagellm_sage.activate`.

For programs of isage-kernel 0.2 that shall use sagellm without a change. ``-m MODULE`` runs a
module, as Python itself does.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from sagellm_sage.activation import activate

USAGE = """\
usage: python -m sagellm_sage SCRIPT [ARGS]...
       python -m sagellm_sage -m MODULE [ARGS]...

Runs a program whose imports of sage.middleware.operators.llm and sage.common.model_registry
lead to sagellm.
"""


def main(arguments: list[str]) -> int:
    """Run what the arguments name, as ``__main__``.

    :returns: 2 for wrong usage, else 0; what the program raises, ``SystemExit`` too, passes.
    """
    by_module = arguments[:1] == ["-m"]
    program = arguments[1:] if by_module else arguments
    if program[:1] in (["-h"], ["--help"]) and not by_module:
        sys.stdout.write(USAGE)
        return 0
    if not program or (program[0].startswith("-") and not by_module):
        sys.stderr.write(USAGE)
        return 2
    if not by_module and not Path(program[0]).is_file():
        sys.stderr.write(f"python -m sagellm_sage: there is no file {program[0]!r}\n")
        return 2
    activate()
    sys.argv = program
    if by_module:
        runpy.run_module(program[0], run_name="__main__", alter_sys=True)
    else:
        # In place of the current directory, which `python -m` put there.
        sys.path[0] = str(Path(program[0]).resolve().parent)
        runpy.run_path(program[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
