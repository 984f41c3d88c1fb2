"""Whether the torch that was imported is one for CUDA."""

from __future__ import annotations

from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import DeviceUnavailableError

from .fitness import build_problem


def require_cuda(build: TorchBuild) -> None:
    """Refuse any other build, one for HIP too, whose devices answer to the same name.

    :raises DeviceUnavailableError: it is not one for CUDA.
    """
    problem = build_problem(build)
    if problem is not None:
        raise DeviceUnavailableError(
            f"The cuda provider cannot compute: {problem.reason}.", hint=problem.hint
        )
