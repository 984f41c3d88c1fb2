"""Stage S1: ask every plugin at once, each in a short-lived child process of its own.

The parent imports no plugin and touches no driver. A plugin that crashes, hangs, leaves or
prints nonsense is a report about that plugin, never the end of the command.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sagellm_core.contract.device import DeviceInfo, Finding
from sagellm_core.contract.model import LoadAnswer, ModelDescription
from sagellm_core.contract.plugin import PluginInfo

from .discovery import PluginEntry
from .process import ChildProcess, converse
from .rejection import Rejection
from .transcript import Transcript
from .wire import model_to_wire

#: Seconds that all probes together may take.
PROBE_TIMEOUT = 5.0

# Before anything of ours can be imported, the child must look for modules where we do.
_BOOTSTRAP = """\
import json, sys
request = json.load(sys.stdin)
sys.path[:] = request["path"]
from sagellm_core.providers.child import main
main(int(sys.argv[1]), request)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What one plugin said, or why it did not.

    What it said before it failed is kept: a plugin that crashes after it reported a device is
    one whose hardware is present.
    """

    entry: PluginEntry
    info: PluginInfo | None = None
    devices: tuple[DeviceInfo, ...] = ()
    #: Device id to the answer for the model, for usable devices.
    answers: Mapping[str, LoadAnswer] = field(default_factory=dict)
    #: Device id to findings, when a diagnosis was asked for.
    findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    #: Why the plugin as a whole is out of the running.
    rejection: Rejection | None = None
    #: Sentences about what it should not have done.
    warnings: tuple[str, ...] = ()
    #: The ends of what it printed to stdout and stderr.
    output: str = ""


def probe(
    entries: Sequence[PluginEntry],
    model: ModelDescription | None,
    *,
    timeout: float = PROBE_TIMEOUT,
    env: Mapping[str, str] | None = None,
    root: Path = Path("/"),
    diagnose: bool = False,
) -> list[ProbeReport]:
    """Ask the plugins who they are, which devices they find and whether they can load ``model``.

    :param entries: rejected ones are reported as they are, and not started.
    :param model: ``None`` to ask about devices alone. One that is not resolved is shown only to
        plugins that need no model files.
    :param timeout: seconds for all of them together. Then, and always in the end, every child
        is killed with everything it started.
    :param env: the children's environment; ``None``: this process's own.
    :param root: the file-system root that detection reads below.
    :param diagnose: ask for findings on each device too.
    :returns: one report per entry, in the order of ``entries``.
    """
    started = time.monotonic()
    environment = dict(os.environ if env is None else env)
    transcripts = [Transcript(entry) for entry in entries]
    children: list[tuple[Transcript, ChildProcess]] = []
    try:
        for transcript in transcripts:
            transcript.rejection = transcript.entry.rejection
            if transcript.rejection is None:
                request = _request(transcript.entry, model, timeout, root, diagnose)
                try:
                    child = ChildProcess(_BOOTSTRAP, request, environment, transcript.hear)
                except (OSError, ValueError) as error:
                    transcript.rejection = _cannot_start(transcript.entry, error)
                else:
                    children.append((transcript, child))
        converse([child for _, child in children], started + timeout)
    finally:
        for _, child in children:
            child.kill()
        for _, child in children:
            child.reap()
    for transcript, child in children:
        transcript.conclude(child, timeout)
    outputs = {id(transcript): _output(child) for transcript, child in children}
    return [_report(transcript, outputs.get(id(transcript), "")) for transcript in transcripts]


def _request(
    entry: PluginEntry,
    model: ModelDescription | None,
    timeout: float,
    root: Path,
    diagnose: bool,
) -> bytes:
    request = {
        "path": [str(place) for place in sys.path],
        "module": entry.module,
        "model": None if model is None else model_to_wire(model),
        "timeout": timeout,
        "started": time.time(),
        "root": str(root),
        "diagnose": diagnose,
    }
    return json.dumps(request).encode("ascii")


def _cannot_start(entry: PluginEntry, error: Exception) -> Rejection:
    return Rejection(
        "cannot_start",
        f"No process could be started to probe {entry.title}: {error}.",
        "See that this user may start processes and open files, and that sys.executable"
        f" ({sys.executable!r}) is a Python interpreter.",
    )


def _output(child: ChildProcess) -> str:
    return b"\n".join(part for part in (child.output, child.errors) if part).decode(
        "utf-8", "replace"
    )


def _report(transcript: Transcript, output: str) -> ProbeReport:
    return ProbeReport(
        entry=transcript.entry,
        info=transcript.info,
        devices=transcript.devices,
        answers=transcript.answers,
        findings=transcript.findings,
        rejection=transcript.rejection,
        warnings=tuple(transcript.warnings),
        output=output,
    )
