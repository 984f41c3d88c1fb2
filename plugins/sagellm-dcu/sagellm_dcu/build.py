"""Whether the torch that was imported is one for DCUs."""

from __future__ import annotations

from sagellm_torch.torch_build import TorchBuild

from sagellm_core.contract import DeviceUnavailableError

from .fitness import build_problem


def require_hip(build: TorchBuild) -> None:
    """Refuse any other build, whose devices may answer to the same name.

    :raises DeviceUnavailableError: it is not one for HIP.
    """
    problem = build_problem(build)
    if problem is not None:
        raise DeviceUnavailableError(
            f"The dcu provider cannot compute: {problem.reason}.", hint=problem.hint
        )
