"""``ASCEND_RT_VISIBLE_DEVICES``, as CANN reads it."""

from __future__ import annotations

import re
from itertools import pairwise

VARIABLE = "ASCEND_RT_VISIBLE_DEVICES"
_READ = re.compile(r"[0-9,]*")
#: Numbers with more digits are no NPU's.
_LONGEST = 4


def visible(value: str | None, count: int) -> tuple[int, ...]:
    """Which of ``count`` NPUs a process sees: their places among all, in order.

    Unset: all. Else the list is read up to the first character that is neither a digit nor a
    comma, or the first number that no NPU has; so ``""`` and ``"-1"`` hide all of them. Numbers
    have to ascend: else none is seen. (CANN, reference of environment variables;
    ``torch_npu.npu.device_count``.)
    """
    if value is None:
        return tuple(range(count))
    read = _READ.match(value)
    assert read is not None, "the pattern matches the empty string"
    places: list[int] = []
    for text in read[0].split(","):
        if not text or len(text) > _LONGEST or int(text) >= count:
            break
        places.append(int(text))
    if any(later <= earlier for earlier, later in pairwise(places)):
        return ()
    return tuple(places)
