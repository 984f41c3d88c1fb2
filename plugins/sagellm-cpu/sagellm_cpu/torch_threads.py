"""torch's own threads, which do not survive a fork.

In the child of a process that used them, the first operator that wants to share its work waits for
ever: OpenMP's runtime takes the parent's threads for its own. One thread alone waits for nobody.
"""

from __future__ import annotations

import logging
import os

import torch

_log = logging.getLogger("sagellm.cpu")
#: Whether this process, or one that it was forked from, may have started some.
_started = False
#: Whether they were lost in a fork.
_lost = False


def use_torch_threads(count: int) -> None:
    """Let torch's operators compute with so many threads, with one where more would hang."""
    global _started
    if not _lost:
        torch.set_num_threads(count)
        _started = _started or count > 1
        return
    torch.set_num_threads(1)
    if count > 1:
        _log.warning(
            "This process was forked from one that had loaded a model: torch's operators have one "
            "thread here, not %d. A process that is started with 'spawn' has all of them.",
            count,
        )


def _after_fork() -> None:
    global _lost
    _lost = _started


os.register_at_fork(after_in_child=_after_fork)
