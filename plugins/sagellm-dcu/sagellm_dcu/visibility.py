"""Variables that choose among DCUs: the runtime's own, then HIP's, which counts what is left.

``ROCR_VISIBLE_DEVICES`` is read as ``amd_filter_device.h`` of ROCR-Runtime says: indices or UUIDs
that may be cut short, in any order; the first entry that names none, several, or one named
before ends the list; an empty list hides all. ``HIP_VISIBLE_DEVICES`` is read as
``rocdevice.cpp`` of CLR does, and where it is not set ``CUDA_VISIBLE_DEVICES`` stands in for it:
numbers among what is left, without white space; the first invalid one ends the list, one named
twice counts once. CLR takes an empty list for none at all, torch for an order to hide
everything: so does this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sagellm_torch.hardware import Problem

from .topology import DCU

RUNTIME, HIP, COMPATIBLE = "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"
#: Words by which schedulers say that a job has no device, beside numbers below 0.
_NONE = frozenset({"", "nodevfiles", "none", "void"})
_INDEX, _NEGATIVE = re.compile(r"0|[1-9]\d*"), re.compile(r"-\d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """What the variables show."""

    #: In torch's numbering.
    devices: tuple[DCU, ...] = ()
    #: Why there are none, where there are none.
    hidden: Problem | None = None
    #: Whether somebody wanted them hidden, rather than named devices that are not there.
    deliberate: bool = False
    #: "VARIABLE=value" and the entry that ends it before its end, for each that ends so.
    cuts: tuple[tuple[str, str], ...] = ()


def visible(devices: Sequence[DCU], env: Mapping[str, str]) -> Visible:
    """What HIP shows of ``devices``.

    :param devices: those that this process may use, in the runtime's order.
    """
    chosen = Visible(devices=tuple(devices))
    second = HIP if HIP in env else COMPATIBLE
    for variable, look in ((RUNTIME, _by_index_or_uuid), (second, _by_index)):
        if variable in env and chosen.hidden is None:
            chosen = _filtered(chosen, variable, env[variable], look)
    if chosen.hidden is None and _refused_by_torch(env):
        return Visible(
            hidden=Problem(
                f"{HIP}={env[HIP]!r} names more devices than {RUNTIME}={env[RUNTIME]!r}, which "
                "torch refuses",
                f"Unset one of the two: {HIP} counts what {RUNTIME} leaves.",
            )
        )
    return chosen


def _filtered(
    before: Visible,
    variable: str,
    value: str,
    look: Callable[[str, Sequence[DCU]], DCU | None],
) -> Visible:
    said = f"{variable}={value!r}"
    entries = value.split(",")
    first = entries[0].strip()
    if first.lower() in _NONE or _NEGATIVE.match(first):
        what = f"{variable} is {value!r}" if value.strip() else f"{variable} is empty"
        return Visible(
            hidden=Problem(f"{what}, which hides every DCU", f"Unset {variable} to use DCUs."),
            deliberate=True,
        )
    found: list[DCU] = []
    cuts = before.cuts
    for entry in entries:
        device = look(entry, before.devices)
        if device is None or (device in found and look is _by_index_or_uuid):
            cuts = (*cuts, (said, entry))
            break
        if device not in found:
            found.append(device)
    if found:
        return Visible(devices=tuple(found), cuts=cuts)
    count = len(before.devices)
    choices = "0" if count == 1 else f"0 to {count - 1}"
    return Visible(
        hidden=Problem(
            f"{said} begins with {entries[0]!r}, which names no DCU here, and so hides every DCU",
            f"Name {choices} in {variable}, or unset it.",
        ),
        cuts=cuts,
    )


def _by_index_or_uuid(entry: str, devices: Sequence[DCU]) -> DCU | None:
    entry = entry.strip()
    if not entry.upper().startswith("GPU-"):
        return _by_index(entry, devices)
    matching = [device for device in devices if device.uuid.lower().startswith(entry.lower())]
    return matching[0] if len(matching) == 1 else None


def _by_index(entry: str, devices: Sequence[DCU]) -> DCU | None:
    if not _INDEX.fullmatch(entry):
        return None
    return devices[int(entry)] if int(entry) < len(devices) else None


def _refused_by_torch(env: Mapping[str, str]) -> bool:
    """torch compares the lengths of the two lists when it counts devices."""
    if RUNTIME not in env or HIP not in env:
        return False
    return env[HIP].count(",") > env[RUNTIME].count(",")
