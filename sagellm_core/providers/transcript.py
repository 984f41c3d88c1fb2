"""What one plugin said in its probe, checked line by line as it comes in."""

from __future__ import annotations

import json
import signal
from typing import Any

from sagellm_core.contract.device import DeviceInfo, Finding
from sagellm_core.contract.model import LoadAnswer
from sagellm_core.contract.plugin import PluginInfo

from .discovery import PluginEntry
from .gates import contract_gate
from .process import ChildProcess
from .rejection import Rejection
from .wire import WireError, device_infos, finding, load_answer, one_line, plugin_info, strings

_STAGES = {
    "start": "while Python was starting",
    "import": "while it was imported",
    "registration": "while its hooks were registered",
}


class Transcript:
    """The state of one conversation."""

    def __init__(self, entry: PluginEntry) -> None:
        self.entry = entry
        self.info: PluginInfo | None = None
        self.devices: tuple[DeviceInfo, ...] = ()
        #: By device id.
        self.answers: dict[str, LoadAnswer] = {}
        self.findings: dict[str, tuple[Finding, ...]] = {}
        self.rejection: Rejection | None = None
        self.warnings: list[str] = []
        self._stage = "start"
        self._done = False

    def hear(self, line: bytes) -> bool:
        """Take in one line.

        :returns: whether the conversation is over.
        """
        try:
            data = json.loads(line)
            kind = data["kind"]
        # UnicodeDecodeError and JSONDecodeError are ValueErrors.
        except (ValueError, TypeError, KeyError, RecursionError):
            self._garbage(line)
            return True
        try:
            match kind:
                case "stage":
                    self._stage = str(data.get("stage"))
                case "info":
                    self._take_info(data)
                case "devices" if self.info is not None and not self.devices:
                    self.devices = device_infos(data.get("devices"))
                case "answer" if (device := self._device(data)) is not None:
                    self.answers[device.id] = load_answer(data.get("answer"))
                case "findings" if (device := self._device(data)) is not None:
                    found = data.get("findings")
                    items = found if isinstance(found, list) else [found]
                    self.findings[device.id] = tuple(finding(item) for item in items)
                case "failed":
                    self._take_failure(data)
                case "done" if self.devices:
                    self._done = True
                    self.warnings += [
                        f"{self.entry.title} imports {module} in its probe, which is forbidden:"
                        " it costs seconds and may start a driver."
                        for module in strings(data.get("heavy"))
                    ]
                case _:
                    self._garbage(line)
        except WireError as error:
            self._reject("wrong_type", f"broke the contract {self._where()}: {error}")
        return self._done or self.rejection is not None

    def conclude(self, child: ChildProcess, timeout: float) -> None:
        """Judge a conversation that ended without a last line.

        :param timeout: seconds that it had.
        """
        detail = child.errors.decode("utf-8", "replace").strip()
        if child.stuck:
            self.warnings.append(
                f"The probe of {self.entry.title} could not be killed: it is stuck in the kernel."
            )
        if self.rejection is not None:
            if not self.rejection.detail:
                self.rejection = self.rejection._replace(detail=detail)
        elif self._done:
            pass
        elif child.overflow:
            self._reject("protocol", "sent megabytes where its reply belongs", detail=detail)
        elif not child.left:
            self._reject(
                "hang",
                f"gave no answer within {timeout:g} s: it hung {self._where()}",
                detail=detail,
            )
        elif child.status is not None and child.status < 0:
            name = _signal_name(-child.status)
            self._reject("crash", f"was killed by {name} {self._where()}", detail=detail)
        else:
            status = "an unknown code" if child.status is None else f"code {child.status}"
            self._reject("exit", f"left with {status} {self._where()}", detail=detail)

    def _where(self) -> str:
        return _STAGES.get(self._stage, f"in {one_line(self._stage, 60)}")

    def _device(self, data: dict[str, Any]) -> DeviceInfo | None:
        index = data.get("device")
        if type(index) is not int or not 0 <= index < len(self.devices):
            return None
        return self.devices[index]

    def _take_info(self, data: dict[str, Any]) -> None:
        info = plugin_info(data.get("info"))
        entry = self.entry
        if info.name != entry.name:
            raise WireError(
                f"PluginInfo.name is {info.name!r}, and its entry point is named {entry.name!r}"
            )
        self.info = info
        self.rejection = contract_gate(entry.title, entry.dist, info.contract)

    def _take_failure(self, data: dict[str, Any]) -> None:
        code = one_line(str(data.get("code")), 40)
        detail = str(data.get("traceback") or "").strip()
        text = one_line(str(data.get("text") or ""))
        hint = one_line(str(data.get("hint") or ""))
        if code == "raised":
            kind = one_line(str(data.get("type")), 100)
            missing = data.get("missing")
            if isinstance(missing, str) and missing:
                own = f"{self.entry.module}.".startswith(f"{missing}.")
                hint = (
                    f"Its installation is damaged: pip install --force-reinstall {self.entry.dist}"
                    if own
                    else f"Install what it needs: the module {one_line(missing, 100)!r} is missing."
                )
            what = f"raised {kind} {self._where()}" + (f": {text}" if text else "")
        elif code == "exit":
            what = f"raised SystemExit({text}) {self._where()}"
        else:
            what = f"broke the contract: {one_line(str(data.get('message'))).rstrip('.')}"
        self._reject(code, what, hint=hint, detail=detail)

    def _garbage(self, line: bytes) -> None:
        shown = one_line(line.decode("utf-8", "replace"), 60)
        self._reject("protocol", f"wrote {shown!r} where its reply belongs, {self._where()}")

    def _reject(self, code: str, what: str, *, hint: str = "", detail: str = "") -> None:
        entry = self.entry
        self.rejection = Rejection(
            code,
            f"{entry.title} {what.rstrip('.')}.",
            hint
            or f"Upgrade it (pip install -U {entry.dist}), or leave it out with"
            f" SAGELLM_DISABLE_PLUGINS={entry.name}.",
            detail,
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
