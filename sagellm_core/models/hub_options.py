"""Options of a download, by the names that huggingface_hub gives them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ModelRegistryError

_KNOWN = (
    "token",
    "endpoint",
    "allow_patterns",
    "ignore_patterns",
    "max_workers",
    "etag_timeout",
    "headers",
    "user_agent",
    "library_name",
    "library_version",
)
#: Old callers pass these; they ask for what happens anyway.
_GRANTED = {"resume_download": (True, None), "local_dir_use_symlinks": (False, "auto")}
_HINTS = {
    "cache_dir": "Pass root=DIRECTORY: a download goes into the registry under it.",
    "local_dir": "Pass root=DIRECTORY: a download goes into the registry under it.",
    "force_download": "Pass force=True.",
    "tqdm_class": "Pass progress=CALLABLE, which is told (stage, done, total).",
    "local_files_only": "Call get_model_path, or ensure_model_available(auto_download=False).",
    "repo_type": "Only models are downloaded.",
}


@dataclass(frozen=True, slots=True)
class HubOptions:
    """How the hub is asked; see :func:`huggingface_hub.snapshot_download` for each."""

    endpoint: str
    token: str | bool | None = None
    allow_patterns: tuple[str, ...] | None = None
    ignore_patterns: tuple[str, ...] | None = None
    #: Files that are fetched at the same time.
    max_workers: int = 8
    #: Seconds without a byte after which a connection counts as broken.
    timeout: float = 10.0
    headers: Mapping[str, str] | None = None
    user_agent: Any = None
    library_name: str | None = "sagellm-core"
    library_version: str | None = None

    @classmethod
    def checked(cls, options: Mapping[str, Any]) -> HubOptions:
        """Options that a caller passed by keyword.

        :raises ModelRegistryError: one is unknown, or has no meaning for the registry.
        """
        for name, value in options.items():
            if name in _GRANTED and value in _GRANTED[name]:
                continue
            if name not in _KNOWN:
                raise ModelRegistryError(
                    f"download_model has no option {name!r} (with the value {str(value)[:60]!r}).",
                    hint=_HINTS.get(name, f"It has: {', '.join(_KNOWN)}."),
                )
        workers = options.get("max_workers", 8)
        if type(workers) is not int or workers < 1:
            raise ModelRegistryError(
                f"max_workers is {workers!r}.", hint="Pass a whole number above 0."
            )
        timeout = options.get("etag_timeout", os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or 10)
        try:
            seconds = float(timeout)
        except (TypeError, ValueError):
            seconds = 0.0
        if not 0 < seconds < 1e6:
            raise ModelRegistryError(
                f"The timeout of a download is {timeout!r}.",
                hint="Pass etag_timeout, or HF_HUB_DOWNLOAD_TIMEOUT, in seconds above 0.",
            )
        endpoint = options.get("endpoint") or os.environ.get("HF_ENDPOINT", "").strip()
        return cls(
            # Read now rather than when huggingface_hub was imported.
            endpoint=str(endpoint or "https://huggingface.co").rstrip("/"),
            token=options.get("token"),
            allow_patterns=_patterns(options.get("allow_patterns")),
            ignore_patterns=_patterns(options.get("ignore_patterns")),
            max_workers=workers,
            timeout=seconds,
            headers=options.get("headers"),
            user_agent=options.get("user_agent"),
            library_name=options.get("library_name", "sagellm-core"),
            library_version=options.get("library_version"),
        )

    def api(self) -> Any:
        """A client of the hub's API."""
        from huggingface_hub import HfApi

        return HfApi(
            endpoint=self.endpoint,
            token=self.token,
            library_name=self.library_name,
            library_version=self.library_version,
            user_agent=self.user_agent,
            headers=dict(self.headers) if self.headers else None,
        )

    def request_headers(self) -> dict[str, str]:
        """Headers of a request for a file, with the token of this user."""
        # Exported at run time, through a table that type checkers do not read.
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        return dict(
            build_hf_headers(
                token=self.token,
                library_name=self.library_name,
                library_version=self.library_version,
                user_agent=self.user_agent,
                headers=dict(self.headers) if self.headers else None,
            )
        )

    def narrow(self, names: Sequence[str]) -> list[str]:
        """The files of a repository that the patterns leave; they never add any."""
        from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

        return list(
            filter_repo_objects(
                names,
                allow_patterns=list(self.allow_patterns) if self.allow_patterns else None,
                ignore_patterns=list(self.ignore_patterns) if self.ignore_patterns else None,
            )
        )


def _patterns(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ModelRegistryError(
        f"Patterns are strings, not {str(value)[:60]!r}.", hint='As in allow_patterns=["*.json"].'
    )
