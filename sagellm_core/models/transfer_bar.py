"""Who is told about the bytes of a download."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sagellm_core.contract.model import ProgressCallback


@contextmanager
def reporting(progress: bool | ProgressCallback) -> Iterator[ProgressCallback | None]:
    """A callback for ``progress``: the caller's own, a bar on stderr, or none at all.

    The bar shows only where stderr is a terminal.
    """
    if progress is False or progress is None:
        yield None
        return
    if progress is not True:
        yield progress
        return
    from importlib import import_module

    # It comes with huggingface_hub.
    bar: Any = import_module("tqdm").tqdm(
        unit="B", unit_scale=True, unit_divisor=1024, disable=None, leave=False
    )

    def show(stage: str, done: int, total: int) -> None:
        bar.total = total or None
        bar.set_description_str(stage, refresh=False)
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        bar.close()
