"""Repositories on the Hugging Face hub: which files they have and which of those are a model.

Needs ``huggingface_hub`` (the ``[hub]`` extra), imported when the hub is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagellm_core.contract.errors import ModelFormatError

from .errors import ModelDownloadError, ModelNotFoundError, ModelNotLocalError
from .hub_options import HubOptions
from .model_name import ModelName
from .offline import offline_variable
from .place import PICKLE_SUFFIXES, pickle_weights_error

#: Beside the weights: configs, tokenizers (JSON, sentencepiece, text) and chat templates.
_SUFFIXES = (".json", ".model", ".txt", ".jinja")
#: The parts of a sentence-transformers model, as in 1_Pooling/config.json.
_MODULE = re.compile(r"\d{1,2}_\w{1,40}/(config\.json|model\.safetensors)", re.ASCII)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository at one commit."""

    #: Path in the repository; checked to stay inside any directory it is written to.
    name: str
    url: str
    size: int
    #: SHA-256 for large files, git's SHA-1 of the blob for small ones; empty if not told.
    sha256: str = ""
    git_blob: str = ""


@dataclass(frozen=True, slots=True)
class Repository:
    """The files of a model at one commit."""

    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def unverifiable(self) -> frozenset[str]:
        """Files that the hub tells no digest for."""
        return frozenset(file.name for file in self.files if not file.sha256 and not file.git_blob)


def require_hub(name: ModelName) -> None:
    """Check that the hub may and can be asked for a model.

    :raises ModelNotLocalError: an environment variable forbids it.
    :raises ModelNotFoundError: the ``[hub]`` extra is missing.
    """
    from importlib.util import find_spec

    variable = offline_variable()
    if variable:
        raise ModelNotLocalError(
            f"The model {name.key!r} is not on this machine, and {variable} forbids downloads.",
            hint=f"Unset {variable.partition('=')[0]}, or pass the path of a local copy.",
        )
    if find_spec("huggingface_hub") is None:
        raise ModelNotFoundError(
            f"There is no model {name.key!r} here, and models of the hub need huggingface_hub.",
            hint='pip install "sagellm-core[hub]"',
        )


def list_repository(name: ModelName, options: HubOptions) -> Repository:
    """Ask the hub for the files of a model.

    :raises ModelNotFoundError: no such model or revision, or no access to it.
    :raises ModelDownloadError: the hub could not be reached, or tells no sizes.
    :raises ModelFormatError: it has no weights, or several GGUF files to choose from.
    :raises UnsafeModelError: it has pickle weights only.
    """
    from huggingface_hub import hf_hub_url

    try:
        info = options.api().model_info(
            name.repo,
            revision=name.revision or None,
            files_metadata=True,
            timeout=options.timeout,
        )
        siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        wanted = options.narrow(list(siblings))
    except Exception as error:
        raise translate(error, name.key) from error
    commit = info.sha or name.revision or "main"
    files = []
    for path in choose_files(wanted, name.key, name.file):
        sibling = siblings[path]
        if type(sibling.size) is not int or sibling.size < 0:
            raise ModelDownloadError(f"The hub does not tell the size of {path} in {name.key}.")
        lfs: Any = sibling.lfs
        url = hf_hub_url(name.repo, path, revision=commit, endpoint=options.endpoint)
        sha256 = (lfs["sha256"] if isinstance(lfs, dict) else lfs.sha256) if lfs else ""
        files.append(
            RemoteFile(path, url, sibling.size, sha256, "" if lfs else sibling.blob_id or "")
        )
    return Repository(commit, tuple(files))


def choose_files(names: Sequence[str], label: str, file: str = "") -> list[str]:
    """Which of a repository's files are the model: no pickle and no code.

    Top level only, but for the parts of a sentence-transformers model.

    :param file: the one GGUF file that is wanted.
    :raises UnsafeModelError: its only weights are pickle.
    :raises ModelFormatError: it has no weights, or several GGUF files to choose from, or not the
        one that is wanted.
    """
    top = [name for name in names if "/" not in name and not name.startswith(".")]
    beside = [name for name in top if name.endswith(_SUFFIXES)]
    ggufs = [name for name in top if name.lower().endswith(".gguf")]
    if file:
        if file not in ggufs:
            raise ModelFormatError(
                f"The repository {label.partition(':')[0]} has no file {file}.",
                hint=f"It has: {', '.join(ggufs[:8])}." if ggufs else "Check its files on the hub.",
            )
        return sorted([file, *beside])
    weights = [name for name in top if name.endswith(".safetensors")]
    # Releases often repeat the weights under other names (consolidated.safetensors, ...).
    named = [name for name in weights if name.startswith("model")]
    weights = named or [name for name in weights if not name.startswith("adapter_")]
    if not weights:
        weights = ggufs
        if len(weights) > 1:
            raise ModelFormatError(
                f"The repository {label} has {len(weights)} GGUF files: {', '.join(weights[:8])}.",
                hint=f"Name one of them: {label}:{weights[0]}",
            )
    if not weights:
        pickles = [name for name in top if name.lower().endswith(PICKLE_SUFFIXES)]
        if pickles:
            raise pickle_weights_error(Path(label), pickles)
        raise ModelFormatError(
            f"The repository {label} has no weights in safetensors or GGUF.",
            hint="Check its files on the hub.",
        )
    modules = [name for name in names if _MODULE.fullmatch(name)] if "modules.json" in top else []
    return sorted(weights + beside + modules)


def translate(error: Exception, label: str) -> Exception:
    """What huggingface_hub raised, as an error of this floor."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return ModelNotFoundError(
            f"Access to {label} is restricted by its author.",
            hint="Accept its conditions on the hub, then run: hf auth login",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFoundError(
            f"The hub model {label} has no such revision.", hint="Check the part after '@'."
        )
    if isinstance(error, (errors.RepositoryNotFoundError, errors.HFValidationError)):
        return ModelNotFoundError(
            f"There is no model {label!r}: neither on this machine nor, openly, on the hub.",
            hint="Check the spelling; for a private model run: hf auth login",
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        # It read its variable when it was imported; that may have been unset since.
        return ModelNotLocalError(
            f"{label} is not on this machine, and HF_HUB_OFFLINE was set when Python started.",
            hint="Start anew without HF_HUB_OFFLINE.",
        )
    first = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
    return ModelDownloadError(
        f"{label} could not be downloaded: {type(error).__name__}: {first}",
        hint="Check the network (HTTPS_PROXY, HF_ENDPOINT) and run it again; what arrived is kept.",
    )
