"""What importing a plugin changes in a process."""

from __future__ import annotations

import builtins
import gc
import importlib
import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

#: What is run in the child.
CODE = """\
import json, sys
request = json.load(sys.stdin)
sys.path[:] = request["path"]
from sagellm_core.testing.errands.import_effects import main
main(int(sys.argv[1]), request)
"""
#: What is looked at; the names of the suite's cases.
ASPECTS = (
    "environment",
    "modules",
    "threads",
    "signals",
    "directory",
    "logging",
    "interpreter",
    "descriptors",
)


def main(reply_fd: int, request: Mapping[str, Any]) -> None:
    """Import the module between two looks, and answer with what is different."""
    import sagellm_core.contract as contract

    for name in contract.__all__:
        getattr(contract, name)
    own = request["module"].partition(".")[0]
    before = {aspect: _LOOKS[aspect](own) for aspect in ASPECTS}
    module = importlib.import_module(request["module"])
    after = {aspect: _LOOKS[aspect](own) for aspect in ASPECTS}
    answer = {aspect: _differences(before[aspect], after[aspect]) for aspect in ASPECTS}
    answer["hooks"] = _hook_problems(module)
    answer["unmarked"] = _unmarked(module)
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(reply_fd, (json.dumps(answer) + "\n").encode("ascii"))
    os._exit(0)


def _hook_problems(module: ModuleType) -> list[str]:
    from sagellm_core.providers.registration import HookProblem, collect, enforce

    try:
        enforce(collect(module), module)
    except HookProblem as problem:
        return [problem.message, problem.hint]
    return []


def _unmarked(module: ModuleType) -> list[str]:
    """Functions that are named like hooks, or nearly, and that core does not see."""
    from sagellm_core.providers.naming import nearest
    from sagellm_core.providers.registration import HOOKS

    return [
        name
        for name, value in vars(module).items()
        if name.startswith("sagellm_")
        and callable(value)
        and not hasattr(value, "sagellm_impl")
        and nearest(name, HOOKS) is not None
    ]


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was added, taken away and changed, as phrases."""
    added = [f"{name} is new" for name in after if name not in before]
    gone = [f"{name} is gone" for name in before if name not in after]
    changed = [
        f"{name} was {before[name]} and is {after[name]}"
        for name in after
        if name in before and before[name] != after[name]
    ]
    return added + gone + changed


def _environment(own: str) -> dict[str, str]:
    return {name: repr(value) for name, value in os.environ.items()}


def _modules(own: str) -> dict[str, str]:
    """Modules by name, except those that a plugin may import: its own and the library's."""
    found = {}
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        contract = f"{name}.".startswith("sagellm_core.contract.")
        if top not in {own, *sys.stdlib_module_names} and not contract:
            found[name] = str(id(module))
    return found


def _threads(own: str) -> dict[str, str]:
    found = {f"the thread {thread.name}": "" for thread in threading.enumerate()}
    tasks = Path("/proc/self/task")
    if tasks.is_dir():  # threads that Python does not know
        found["the number of threads"] = str(len(list(tasks.iterdir())))
    return found


def _signals(own: str) -> dict[str, str]:
    return {f"the handler of {each.name}": _named(signal.getsignal(each)) for each in _catchable()}


def _catchable() -> list[signal.Signals]:
    return sorted(each for each in signal.valid_signals() if isinstance(each, signal.Signals))


def _directory(own: str) -> dict[str, str]:
    mask = os.umask(0)
    os.umask(mask)
    return {"the working directory": str(Path.cwd()), "the umask": oct(mask)}


def _logging(own: str) -> dict[str, str]:
    """The configuration; a library's own logger with a NullHandler is as it should be."""
    root = logging.getLogger()
    found = {
        "the root logger's level": str(root.level),
        "logging.disable": str(root.manager.disable),
        "the logger class": _named(logging.getLoggerClass()),
    }
    loggers = {"root": root, **root.manager.loggerDict}
    for name, logger in loggers.items():
        if not isinstance(logger, logging.Logger):
            continue
        for handler in logger.handlers:
            if not isinstance(handler, logging.NullHandler):
                found[f"the handler {type(handler).__name__} of the logger {name}"] = ""
        if name.partition(".")[0] != own and name != "root":
            found[f"the level of the logger {name}"] = str(logger.level)
    return {
        name: value
        for name, value in found.items()
        # A logger that was only asked for is no change.
        if not (name.startswith("the level of") and value == "0")
    }


def _interpreter(own: str) -> dict[str, str]:
    return {
        "sys.path": str(sys.path),
        "sys.meta_path": str([_named(each) for each in sys.meta_path]),
        "sys.path_hooks": str([_named(each) for each in sys.path_hooks]),
        "sys.excepthook": _named(sys.excepthook),
        "threading.excepthook": _named(threading.excepthook),
        "sys.stdout": _named(sys.stdout),
        "sys.stderr": _named(sys.stderr),
        "the recursion limit": str(sys.getrecursionlimit()),
        "the warning filters": str(warnings.filters),
        "the garbage collector": str((gc.isenabled(), gc.get_threshold())),
        **{f"builtins.{name}": str(id(value)) for name, value in vars(builtins).items()},
    }


def _descriptors(own: str) -> dict[str, str]:
    place = Path("/proc/self/fd")
    if not place.is_dir():
        return {}
    found = {}
    for number in os.listdir(place):  # noqa: PTH208 - its own descriptor would be listed too
        try:
            found[f"the open file {(place / number).readlink()}"] = ""
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def _named(value: object) -> str:
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{getattr(value, '__module__', '')}.{name} at {id(value):#x}"


_LOOKS: dict[str, Callable[[str], dict[str, str]]] = {
    "environment": _environment,
    "modules": _modules,
    "threads": _threads,
    "signals": _signals,
    "directory": _directory,
    "logging": _logging,
    "interpreter": _interpreter,
    "descriptors": _descriptors,
}
