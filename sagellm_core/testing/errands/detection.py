"""Calls of ``sagellm_detect_devices``, repeated, in a fork, and under watch."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sagellm_core.providers.registration import collect, enforce
from sagellm_core.providers.wire import to_wire

from .watch import Watch

#: What is run in the child.
CODE = """\
import json, sys
request = json.load(sys.stdin)
sys.path[:] = request["path"]
from sagellm_core.testing.errands.detection import main
main(int(sys.argv[1]), request)
"""
#: Seconds that a forked child has.
_FORK_PATIENCE = 10.0


def main(reply_fd: int, request: Mapping[str, Any]) -> None:
    """Answer a request.

    ==============  =========================================================================
    ``module``      the plugin
    ``calls``       a list of calls, each with ``env``, ``root`` and ``environ``: variables to
                    set in this process for the call, but not in ``env``
    ``fork``        whether the first call is repeated in a forked child
    ``watch``       whether what is looked at outside of ``root`` is told
    ==============  =========================================================================

    The answer has ``devices`` (a list for each call), ``seconds``, ``outside`` and ``forked``.
    """
    module = importlib.import_module(request["module"])
    manager = collect(module)
    enforce(manager, module)
    hook = manager.hook.sagellm_detect_devices
    answer: dict[str, Any] = {"devices": [], "seconds": [], "outside": [], "forked": None}
    for call in request["calls"]:
        with Watch(Path(call["root"]), active=request["watch"]) as watch:
            os.environ.update(call["environ"])
            began = time.perf_counter()
            answer["devices"].append(_devices(hook, call))
            answer["seconds"].append(time.perf_counter() - began)
            for name in call["environ"]:
                del os.environ[name]
        answer["outside"].append(watch.seen)
    if request["fork"]:
        answer["forked"] = _forked(lambda: _devices(hook, request["calls"][0]))
    os.write(reply_fd, (json.dumps(answer) + "\n").encode("ascii"))
    os._exit(0)


def _devices(hook: Callable[..., Any], call: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = hook(env=dict(call["env"]), root=Path(call["root"]))
    return [to_wire(device) for device in found]


def _forked(look: Callable[[], Any]) -> Any:
    """What a forked child answers; a string that says what became of it otherwise."""
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(write_end, json.dumps(look()).encode("ascii"))
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    os.set_blocking(read_end, False)
    data = b""
    end = time.monotonic() + _FORK_PATIENCE
    while time.monotonic() < end:
        try:
            piece = os.read(read_end, 65536)
        except BlockingIOError:
            time.sleep(0.005)
            continue
        if not piece:
            break
        data += piece
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        return f"it gave no answer within {_FORK_PATIENCE:g} s"
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"it was killed by signal {-code}"
    return json.loads(data) if code == 0 else "it raised an error"
