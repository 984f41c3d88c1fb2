"""CUDA_VISIBLE_DEVICES: which GPUs CUDA shows, and in what order.

The CUDA programming guide, "CUDA Environment Variables", and the MIG user guide, "CUDA Device
Enumeration", say: a list of indices or of UUIDs that may be cut short; what comes before the
first entry that names no GPU is visible, in the order of the list; an empty list hides all. What
they leave open is read as torch reads it: the first entry decides between indices and UUIDs,
and a GPU named twice hides all. Of MIG instances CUDA shows one, and no other GPU beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sagellm_torch.hardware import Problem

from .gpu import GPU, Instance

VARIABLE = "CUDA_VISIBLE_DEVICES"
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
    found: list[Shown] = []
    for entry in entries:
        device = _named(entry, entries[0], gpus)
        if device is None:
            return _cut(found, entry, value, gpus)
        if device in found:
            return Visible(
                hidden=Problem(
                    f"{VARIABLE}={value!r} names one GPU twice, which hides every GPU",
                    f"Name each once in {VARIABLE}.",
                )
            )
        found.append(device)
    return Visible(devices=_one_instance(found))


def _hides(first: str) -> bool:
    index = _index(first)
    return not first or first.lower() in _NONE or (index is not None and index < 0)


def _cut(found: Sequence[Shown], entry: str, value: str, gpus: Sequence[GPU]) -> Visible:
    if found:
        return Visible(devices=_one_instance(found), cut_at=entry)
    return Visible(
        hidden=Problem(
            f"{VARIABLE}={value!r} begins with {entry!r}, which names no GPU here, "
            "and so hides every GPU",
            f"Name {_choices(gpus)} in {VARIABLE}, or unset it.",
        ),
        cut_at=entry,
    )


def _named(entry: str, first: str, gpus: Sequence[GPU]) -> Shown | None:
    for prefix, look in (("GPU-", _by_uuid), ("MIG-", _by_instance)):
        if first.startswith(prefix):
            return look(entry, gpus) if entry.startswith(prefix) else None
    index = _index(entry)
    return _shown(gpus[index]) if index is not None and 0 <= index < len(gpus) else None


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
    if matching or pairs:
        return None
    # Only NVML tells of instances.
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
