"""On what it was measured."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

_PACKAGES = ("sagellm-core", "sagellm-torch", "sagellm-cuda", "sagellm-dcu", "torch", "triton")


def machine(device: str) -> dict[str, Any]:
    """Names and versions; what is not there is left out."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "device": device,
        "name": platform.processor() or platform.machine(),
        "versions": dict(_versions()),
    }
    if torch.device(device).type != "cpu":
        module = torch.get_device_module(device)
        properties = module.get_device_properties(device)
        found["name"] = module.get_device_name(device)
        found["memory_bytes"] = module.mem_get_info(device)[1]
        found["processors"] = getattr(properties, "multi_processor_count", None)
        found["toolkit"] = torch.version.cuda or getattr(torch.version, "hip", None)
    return found


def _versions() -> list[tuple[str, str]]:
    found = []
    for package in _PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return found
