"""Models to begin with: a list of ours, or an index that the user names."""

from __future__ import annotations

import http.client
import json
import logging
import os
import time
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from .errors import ModelRegistryError
from .offline import offline_variable

_log = logging.getLogger("sagellm.models")
_MAX_BYTES = 4 * 1024 * 1024
#: Longer is more than sockets take.
_LONGEST_TIMEOUT = 1e6
_FIELDS = (
    "size_billion",
    "disk_gb",
    "min_gpu_memory_gb",
    "recommended_gpu",
    "throughput_tps",
)

#: Id, parameters in billions, gigabytes of its weights on the hub, tags, description. All load
#: with the architectures that docs/models.md lists. Speed and memory are left out: they depend
#: on the device.
_OURS = (
    ("HuggingFaceTB/SmolLM2-135M-Instruct", 0.135, 0.27, ("chat", "small"), "For trying out."),
    ("Qwen/Qwen2.5-0.5B-Instruct", 0.49, 0.99, ("default", "chat"), "Small, many languages."),
    ("Qwen/Qwen2.5-1.5B-Instruct", 1.54, 3.09, ("chat",), "For a CPU with some patience."),
    ("Qwen/Qwen2.5-7B-Instruct", 7.62, 15.2, ("chat", "general"), "For one accelerator."),
    (
        "sentence-transformers/all-MiniLM-L6-v2",
        0.023,
        0.09,
        ("embedding",),
        "Embeddings of English sentences.",
    ),
)


def fetch_recommended_models(
    index_url: str | None = None, timeout: float = 5.0
) -> list[dict[str, Any]]:
    """Models to begin with, each with the keys of SAGE's index.

    Keys: model_id, display_name, size_billion, disk_gb, min_gpu_memory_gb, recommended_gpu,
    throughput_tps, tags, description; those that are not known are ``None``.

    There is no published index, so the network is used only where one is named. If that cannot
    be had in time, the built-in list is returned, with a warning that says why.

    :param index_url: where an index lies: a JSON list of models, or an object with one under
        ``models``. Default: ``$SAGE_LLM_MODEL_INDEX_URL``; if that is not set, the built-in list.
    :param timeout: seconds for everything.
    :raises ModelRegistryError: the URL is none of HTTP, or the timeout is not above 0 and
        below a million.
    """
    url = index_url or os.environ.get("SAGE_LLM_MODEL_INDEX_URL", "").strip()
    if not isinstance(timeout, (int, float)) or not 0 < timeout < _LONGEST_TIMEOUT:
        raise ModelRegistryError(
            f"The timeout is {timeout!r}.",
            hint=f"Pass seconds above 0 and below {_LONGEST_TIMEOUT:g}.",
        )
    if not url:
        return _built_in()
    if not isinstance(url, str) or not _is_http(url):
        raise ModelRegistryError(
            f"{str(url)[:80]!r} is no address of an index.", hint="Pass an http(s) URL."
        )
    try:
        variable = offline_variable()
        if variable:
            raise ValueError(f"{variable} forbids downloads")
        models = _normalised(json.loads(_get(url, timeout)))
        if not models:
            raise ValueError("it names no models")
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        _log.warning(
            "The index %s cannot be used (%s: %s): these are the built-in recommendations.",
            url,
            type(error).__name__,
            str(error)[:200],
        )
        return _built_in()
    return models


def _is_http(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:  # an IPv6 address without its bracket
        return False


def _get(url: str, timeout: float) -> bytes:
    end = time.monotonic() + timeout
    body = b""
    with urllib.request.urlopen(url, timeout=timeout) as response:
        # The timeout of a socket begins anew with each byte; this one is for everything.
        while chunk := response.read1(65536):
            body += chunk
            if len(body) > _MAX_BYTES:
                raise ValueError(f"it has more than {_MAX_BYTES} bytes")
            if time.monotonic() > end:
                raise TimeoutError(f"it took more than {timeout:g} s")
    return body


def _normalised(value: Any) -> list[dict[str, Any]]:
    models = value.get("models") if isinstance(value, dict) else value
    if not isinstance(models, list):
        raise ValueError("it is neither a list nor an object with models")
    return [
        {
            "model_id": model["model_id"],
            "display_name": model.get("display_name", model["model_id"]),
            **{field: model.get(field) for field in _FIELDS},
            "tags": model.get("tags", []),
            "description": model.get("description", ""),
        }
        for model in models
        if isinstance(model, dict) and isinstance(model.get("model_id"), str)
    ]


def _built_in() -> list[dict[str, Any]]:
    return _normalised(
        [
            {
                "model_id": model_id,
                "display_name": model_id.partition("/")[2].replace("-", " "),
                "size_billion": billions,
                "disk_gb": gigabytes,
                "tags": list(tags),
                "description": description,
            }
            for model_id, billions, gigabytes, tags, description in _OURS
        ]
    )
