"""The process that an engine lives in."""

from __future__ import annotations

import os

from sagellm_core.contract import EngineClosedError


class HomeProcess:
    """The process of the construction; forks of it are told apart.

    A forked child has copies of the engine's objects and none of its threads: a lock may be
    held there for ever, and nobody will answer. So who waits or locks asks here first.
    """

    __slots__ = ("_pid",)

    def __init__(self) -> None:
        self._pid = os.getpid()

    @property
    def left(self) -> bool:
        """Whether this is a fork."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Go on only at home.

        :raises EngineClosedError: this is a fork.
        """
        if self.left:
            raise EngineClosedError(
                f"This engine was opened in another process ({self._pid}); this is its fork "
                f"{os.getpid()}, and threads and devices do not survive a fork.",
                hint="Open the engine after the fork, or start the child with 'spawn'.",
            )
