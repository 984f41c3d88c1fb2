"""In what order CUDA counts GPUs, before anything hides some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .gpu import GPU

VARIABLE = "CUDA_DEVICE_ORDER"
BY_BUS = "PCI_BUS_ID"


def counted(gpus: Sequence[GPU], env: Mapping[str, str]) -> tuple[GPU, ...]:
    """GPUs as CUDA counts them.

    :param gpus: by PCI address, which is CUDA's order too under ``CUDA_DEVICE_ORDER=PCI_BUS_ID``.
        Otherwise it puts the fastest first by a rule that NVIDIA does not tell; between equals
        it goes by address. Where models differ this is an estimate: :func:`is_certain`.
    """
    if is_certain(gpus, env) or any(gpu.speed is None for gpu in gpus):
        return tuple(gpus)
    return tuple(sorted(gpus, key=lambda gpu: -(gpu.speed or 0)))


def is_certain(gpus: Sequence[GPU], env: Mapping[str, str]) -> bool:
    """Whether the order is known: by bus, or all of one model."""
    return env.get(VARIABLE) == BY_BUS or len({gpu.name for gpu in gpus}) <= 1
