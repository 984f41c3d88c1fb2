"""What runs inside a probe's child process: one plugin's S1 hooks, told line by line.

The reply is one JSON object a line on a file descriptor of its own, so that whatever the plugin
prints harms nothing, and each line is sent as soon as it is known, so that a crash in a later
hook leaves what the earlier ones said.

==============  ================================================================
``stage``       what is about to run
``info``        the answer of ``sagellm_plugin_info``
``devices``     the answer of ``sagellm_detect_devices``
``answer``      the answer of ``sagellm_can_load`` for the device at index ``device``
``findings``    the answer of ``sagellm_diagnose`` for the device at index ``device``
``failed``      the end: what went wrong
``done``        the end: all went well
==============  ================================================================
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pluggy

from sagellm_core.contract.device import DeviceInfo, DeviceState, Finding
from sagellm_core.contract.model import LoadAnswer, ModelDescription, ModelFormat
from sagellm_core.contract.plugin import Capability, PluginInfo

from .fault import said
from .gates import contract_gate
from .registration import (
    HookProblem,
    call_collected,
    check_capabilities,
    collect,
    enforce,
)
from .wire import model_from_wire, to_wire

#: Modules too heavy for S1. Importing one costs seconds and may initialise a driver.
HEAVY_MODULES = ("torch", "transformers", "tensorflow", "jax")


def main(reply_fd: int, request: Mapping[str, Any]) -> NoReturn:
    """Answer the request and leave at once, without the plugin's exit handlers."""
    # What the plugin starts must not hold our end of the conversation.
    os.set_inheritable(reply_fd, False)
    _limit_life(request["timeout"], request["started"])
    conversation = _Conversation(reply_fd)
    try:
        _probe(conversation, request)
        heavy = [name for name in HEAVY_MODULES if name in sys.modules]
        conversation.say("done", heavy=heavy)
    except _Failure as failure:
        conversation.say("failed", **failure.fields)
    except BrokenPipeError:
        pass  # The parent has stopped listening.
    os._exit(0)


def _limit_life(timeout: float, started: float) -> None:
    """See to it that this process ends even if the parent is killed before it can end us.

    :param started: on the clock of :func:`time.time`, which both processes share.
    """
    spent = min(max(time.time() - started, 0.0), timeout / 2)
    faulthandler.enable()
    # Where a hang hangs, on stderr, shortly before the parent's patience ends.
    faulthandler.dump_traceback_later((timeout - spent) * 0.9)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, timeout + 1)


class _Failure(Exception):
    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.fields = fields


class _Conversation:
    def __init__(self, reply_fd: int) -> None:
        self._fd = reply_fd

    def say(self, kind: str, **fields: Any) -> None:
        data = (json.dumps({"kind": kind, **fields}) + "\n").encode("ascii")
        while data:
            data = data[os.write(self._fd, data) :]

    def ask(self, stage: str, call: Callable[[], Any]) -> Any:
        """Run something of the plugin's, whatever it throws."""
        self.say("stage", stage=stage)
        try:
            return call()
        except HookProblem as problem:
            raise _Failure(code=problem.code, message=problem.message, hint=problem.hint) from None
        except SystemExit as left:
            raise _Failure(
                code="exit", type="SystemExit", text=said(left), traceback=_traceback(left)
            ) from None
        except BaseException as error:
            raise _Failure(
                code="raised",
                type=type(error).__name__,
                text=said(error),
                missing=error.name if isinstance(error, ModuleNotFoundError) else None,
                traceback=_traceback(error),
            ) from None


def _probe(conversation: _Conversation, request: Mapping[str, Any]) -> None:
    module: ModuleType = conversation.ask(
        "import", lambda: importlib.import_module(request["module"])
    )
    manager = conversation.ask("registration", lambda: collect(module))
    info = conversation.ask(
        "sagellm_plugin_info", lambda: call_collected(manager, "sagellm_plugin_info")
    )
    if info is not None:
        _expect("sagellm_plugin_info", info, PluginInfo)
        conversation.say("info", info=to_wire(info))
        if not isinstance(info.contract, str) or contract_gate("", "", info.contract) is not None:
            return  # The parent judges from the info; a newer plugin's hooks are not for us.
    conversation.ask("registration", lambda: enforce(manager, module))
    _expect("sagellm_plugin_info", info, PluginInfo)
    # What is no set of strings is the parent's to tell: it reads every field.
    if isinstance(info.capabilities, (set, frozenset)):
        conversation.ask("registration", lambda: check_capabilities(manager, module, info))
    devices = _devices(conversation, manager, request)
    _answers(conversation, manager, request, info, devices)
    if request["diagnose"]:
        _findings(conversation, manager, devices)


def _devices(
    conversation: _Conversation, manager: pluggy.PluginManager, request: Mapping[str, Any]
) -> Sequence[DeviceInfo]:
    hook = "sagellm_detect_devices"
    call = partial(
        manager.hook.sagellm_detect_devices, env=dict(os.environ), root=Path(request["root"])
    )
    devices = _sequence(hook, conversation.ask(hook, call), DeviceInfo)
    conversation.say("devices", devices=[to_wire(device) for device in devices])
    return devices


def _answers(
    conversation: _Conversation,
    manager: pluggy.PluginManager,
    request: Mapping[str, Any],
    info: PluginInfo,
    devices: Sequence[DeviceInfo],
) -> None:
    if request["model"] is None:
        return
    hook = "sagellm_can_load"
    model = model_from_wire(request["model"])
    if Capability.ANY_MODEL in info.capabilities:
        model = ModelDescription(reference=model.reference, format=ModelFormat.UNRESOLVED)
    elif model.format is ModelFormat.UNRESOLVED:
        return
    for index, device in enumerate(devices):
        if device.state == DeviceState.USABLE:
            call = partial(manager.hook.sagellm_can_load, model=model, device=device)
            answer = conversation.ask(hook, call)
            _expect(hook, answer, LoadAnswer)
            conversation.say("answer", device=index, answer=to_wire(answer))


def _findings(
    conversation: _Conversation, manager: pluggy.PluginManager, devices: Sequence[DeviceInfo]
) -> None:
    hook = "sagellm_diagnose"
    for index, device in enumerate(devices):
        found = conversation.ask(hook, partial(manager.hook.sagellm_diagnose, device=device))
        if found is not None:
            findings = [to_wire(each) for each in _sequence(hook, found, Finding)]
            conversation.say("findings", device=index, findings=findings)


def _expect(hook: str, value: Any, wanted: type) -> None:
    if not isinstance(value, wanted):
        raise _Failure(
            code="wrong_type",
            message=f"{hook} returned {_named(value)}, not {wanted.__name__}.",
        )


def _sequence(hook: str, value: Any, wanted: type) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise _Failure(
            code="wrong_type",
            message=f"{hook} returned {_named(value)}, not a list of {wanted.__name__}.",
        )
    for item in value:
        if not isinstance(item, wanted):
            raise _Failure(
                code="wrong_type",
                message=f"{hook} returned a list with {_named(item)}, not {wanted.__name__}.",
            )
    return value


def _named(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _traceback(error: BaseException) -> str:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next  # Ours, and no news to anyone who mends a plugin.
    try:
        lines = traceback.format_exception(type(error), error, frames)
    except Exception:
        return ""
    return "".join(lines)[-4000:]
