"""How long a caller waits."""

from __future__ import annotations

import math
import time

from sagellm_core.contract import InvalidRequestError, RequestTimeoutError

#: Seconds past the deadline that the engine has to report the timeout itself. A step that
#: hangs keeps it from doing so, and then the caller stops waiting on its own.
_GRACE = 0.1


class Patience:
    """A caller's time limit, started now.

    :param timeout: seconds, or ``None`` for no limit.
    :raises InvalidRequestError: ``timeout`` is not a positive number.
    """

    __slots__ = ("_timeout", "deadline")

    def __init__(self, timeout: float | None) -> None:
        if timeout is not None and (
            isinstance(timeout, bool)
            or not isinstance(timeout, (int, float))
            or math.isnan(timeout)
            or timeout <= 0
        ):
            raise InvalidRequestError(
                f"timeout={timeout!r} is not valid.",
                hint="It must be a number of seconds above 0, or None for no limit.",
            )
        self._timeout = timeout
        #: For the engine, on the clock of :func:`time.monotonic`.
        self.deadline: float | None = None
        if timeout is not None and math.isfinite(timeout):
            self.deadline = time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds until the caller should stop waiting, at least 0; ``None``: no limit."""
        if self.deadline is None:
            return None
        # Waits of the standard library overflow on absurd numbers; a day is as good.
        return min(max(0.0, self.deadline + _GRACE - time.monotonic()), 86400.0)

    @property
    def over(self) -> bool:
        """Whether the caller should stop waiting."""
        return self.deadline is not None and time.monotonic() >= self.deadline + _GRACE

    def error(self) -> RequestTimeoutError:
        """What to raise then."""
        return RequestTimeoutError(
            f"The request was not finished within {self._timeout:g} s, and the provider's step "
            "has not returned.",
            hint="Allow it more time than a step takes (a smaller max_prefill_tokens makes steps "
            "shorter). If this happens whatever the limit, the provider hangs.",
        )
