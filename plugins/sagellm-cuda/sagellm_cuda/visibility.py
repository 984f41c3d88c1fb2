"""CUDA_VISIBLE_DEVICES: which GPUs CUDA shows, and in what order.

The CUDA programming guide, "CUDA Environment Variables", and the MIG user guide, "CUDA Device
Enumeration", say: a list of indices or of UUIDs that may be cut short; what comes before the
first entry that names no GPU is visible, in the order of the list; an empty list hides all. What
they leave open is read as torch reads it: the first entry decides between indices and UUIDs,
and an entry that comes twice hides all. Of MIG instances CUDA shows one, and no GPU beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sagellm_torch.hardware import Problem

from .gpu import GPU, Instance

VARIABLE = "CUDA_VISIBLE_DEVICES"
_GPU, _MIG = "GPU-", "MIG-"
#: Words by which schedulers say that a job has no GPU, beside numbers below 0.
_NONE = frozenset({"nodevfiles", "none", "void"})
#: CUDA reads what stands before the first other character, so that "1st" is 1.
_INDEX = re.compile(r"\s*([+-]?\d+)")


class Shown(NamedTuple):
    """A device as CUDA shows it: a GPU, or an instance of one in MIG mode."""

    gpu: GPU
    instance: Instance | None = None

    @property
    def physical_id(self) -> str:
        """The instance's UUID, the GPU's, or its PCI address."""
        return self.instance.uuid if self.instance is not None else self.gpu.physical_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """What a value of the variable shows."""

    #: In CUDA's and so torch's numbering.
    devices: tuple[Shown, ...] = ()
    #: Why there are none, where there are none.
    hidden: Problem | None = None
    #: Whether somebody wanted them hidden, rather than named GPUs that are not there.
    deliberate: bool = False
    #: The entry that ends the list before its end; empty when there is none.
    cut_at: str = ""


def visible(gpus: Sequence[GPU], value: str | None) -> Visible:
    """What CUDA shows of ``gpus``.

    :param gpus: in CUDA's own order.
    :param value: of the variable; ``None`` when it is not set.
    """
    if value is None:
        return Visible(devices=_one_instance([_shown(gpu) for gpu in gpus]))
    entries = [entry.strip() for entry in value.split(",")]
    if _hides(entries[0]):
        said = f"{VARIABLE} is empty" if not value.strip() else f"{VARIABLE} is {value!r}"
        return Visible(
            hidden=Problem(f"{said}, which hides every GPU", f"Unset {VARIABLE} to use GPUs."),
            deliberate=True,
        )
    wanted, cut_at = _wanted(entries)
    if len(set(wanted)) < len(wanted):
        return _named_twice(value)
    found: list[Shown] = []
    for identity in wanted:
        device = _look_up(identity, gpus)
        if device is None:
            cut_at = str(identity)
            break
        if device in found:
            return _named_twice(value)
        found.append(device)
    if found:
        return Visible(devices=_one_instance(found), cut_at=cut_at)
    return Visible(
        hidden=Problem(
            f"{VARIABLE}={value!r} begins with {entries[0]!r}, which names no GPU here, "
            "and so hides every GPU",
            f"Name {_choices(gpus)} in {VARIABLE}, or unset it.",
        )
    )


def _hides(first: str) -> bool:
    index = _index(first)
    return not first or first.lower() in _NONE or (index is not None and index < 0)


def _wanted(entries: Sequence[str]) -> tuple[list[int | str], str]:
    """Indices or UUIDs, up to the first entry that is neither; and that entry."""
    prefix = next((each for each in (_GPU, _MIG) if entries[0].startswith(each)), "")
    wanted: list[int | str] = []
    for entry in entries:
        if prefix:
            identity: int | str | None = entry if entry.startswith(prefix) else None
        else:
            identity = _index(entry)
        if identity is None or (isinstance(identity, int) and identity < 0):
            return wanted, entry
        wanted.append(identity)
    return wanted, ""


def _named_twice(value: str) -> Visible:
    return Visible(
        hidden=Problem(
            f"{VARIABLE}={value!r} names one GPU twice, which hides every GPU",
            f"Name each once in {VARIABLE}.",
        )
    )


def _look_up(identity: int | str, gpus: Sequence[GPU]) -> Shown | None:
    if isinstance(identity, int):
        return _shown(gpus[identity]) if identity < len(gpus) else None
    look = _by_uuid if identity.startswith(_GPU) else _by_instance
    return look(identity, gpus)


def _index(entry: str) -> int | None:
    match = _INDEX.match(entry)
    return int(match[1]) if match else None


def _by_uuid(entry: str, gpus: Sequence[GPU]) -> Shown | None:
    matching = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
    if len(matching) == 1:
        return _shown(matching[0])
    unknown = [gpu for gpu in gpus if not gpu.uuid]
    if matching or not unknown:
        return None  # it names several, or none
    # Nothing tells this machine's UUIDs, so the entry is taken at its word.
    return Shown(replace(gpus[0], uuid=entry) if len(gpus) == 1 else GPU(uuid=entry))


def _by_instance(entry: str, gpus: Sequence[GPU]) -> Shown | None:
    pairs = [(gpu, instance) for gpu in gpus for instance in gpu.instances]
    matching = [Shown(*pair) for pair in pairs if pair[1].uuid.startswith(entry)]
    if len(matching) == 1:
        return matching[0]
    if matching or pairs or any(gpu.capability for gpu in gpus):
        return None
    # Only NVML tells of instances, and it did not tell anything.
    return Shown(GPU(name="NVIDIA GPU", mig=True), Instance(uuid=entry, name="MIG instance"))


def _shown(gpu: GPU) -> Shown:
    return Shown(gpu, gpu.instances[0] if gpu.instances else None)


def _one_instance(devices: Sequence[Shown]) -> tuple[Shown, ...]:
    for device in devices:
        if device.instance is not None:
            return (device,)
    return tuple(devices)


def _choices(gpus: Sequence[GPU]) -> str:
    return "0" if len(gpus) == 1 else f"0 to {len(gpus) - 1}"
