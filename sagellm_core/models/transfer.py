"""All files of one model at the same time, into its staging directory."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from sagellm_core.contract.model import ProgressCallback

from .errors import DiskSpaceError, ModelRegistryError
from .fetch import Fetcher, StoppedError
from .hub_options import HubOptions
from .repository import RemoteFile, Repository
from .staging import PARTIAL, unwritable

#: Kept free for everybody else, as a disk without a byte left stops more than a download: a
#: twentieth of the download, and at most so much.
_LARGEST_MARGIN = 64 * 1024 * 1024


def transfer(
    repository: Repository,
    place: Path,
    label: str,
    options: HubOptions,
    on_progress: ProgressCallback | None,
) -> None:
    """Fetch what is missing of a model into ``place``.

    :raises DiskSpaceError: it will not fit, or the disk got full; what arrived is kept.
    :raises ModelDownloadError: a file could not be fetched; what arrived is kept.
    :raises ModelRegistryError: a file cannot be written.
    """
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    require_space(repository, place, label)
    counter = _Counter(f"downloading {label}", repository.size, on_progress)
    fetcher = Fetcher(label, options.request_headers(), options.timeout, counter.add)
    largest_first = sorted(repository.files, key=lambda file: -file.size)
    with ThreadPoolExecutor(min(options.max_workers, len(largest_first))) as threads:
        running = [
            threads.submit(fetcher.fetch, file, _target(place, file)) for file in largest_first
        ]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            # On the first failure, and on Ctrl-C, the others end at their next bytes.
            fetcher.stop.set()
            threads.shutdown(wait=True, cancel_futures=True)
    errors = [error for each in running if not each.cancelled() and (error := each.exception())]
    reasons = [error for error in errors if not isinstance(error, StoppedError)]
    if reasons:
        raise reasons[0]


def require_space(repository: Repository, place: Path, label: str) -> None:
    """Check that the rest of a download fits on the disk.

    :raises DiskSpaceError: it does not; both numbers are in the message.
    """
    needed = sum(file.size - _already(place, file) for file in repository.files)
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        raise unwritable(place, error) from error
    margin = min(needed // 20, _LARGEST_MARGIN)
    if needed and needed + margin > free:
        raise DiskSpaceError(
            f"{label} needs {_size(needed)} more on the disk of {place}, and {_size(free)} are "
            f"free, {_size(margin)} of which are to stay so.",
            hint="Free some space (sagellm models list shows sizes, sagellm models rm deletes), or "
            "set SAGE_SAGELLM_MODEL_ROOT to a directory on another disk.",
        )


class _Counter:
    """Bytes of a download, told by several threads."""

    def __init__(self, stage: str, total: int, on_progress: ProgressCallback | None) -> None:
        self._stage, self._total, self._on_progress = stage, total, on_progress
        self._lock = threading.Lock()
        self._done = 0

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._on_progress is not None:
                self._on_progress(self._stage, self._done, self._total)


def _target(place: Path, file: RemoteFile) -> Path:
    """Where a file goes.

    :raises ModelRegistryError: a link leads out of the staging directory there.
    """
    target = place / file.name
    if not target.parent.resolve().is_relative_to(place.resolve()):
        raise ModelRegistryError(
            f"{target.parent} leads out of {place}; nothing was written.", hint="Delete it."
        )
    return target


def _already(place: Path, file: RemoteFile) -> int:
    for path in (place / file.name, place / f"{file.name}{PARTIAL}"):
        try:
            size = path.stat().st_size
        except OSError:
            continue
        return size if size <= file.size else 0
    return 0


def _size(count: int) -> str:
    return f"{count:,} bytes ({count / 2**30:.2f} GiB)"
