"""How long importing a plugin takes."""

from __future__ import annotations

from collections.abc import Sequence

# Nothing else is imported beforehand, not even json: the plugin is charged for all that it
# brings, but for what the contract brings anyway.
_CODE = """\
import os, sys, time
sys.path[:] = {path!r}
import sagellm_core.contract as contract
for name in contract.__all__:
    getattr(contract, name)
began = time.perf_counter()
__import__({module!r})
took = time.perf_counter() - began
os.write(int(sys.argv[1]), (repr(took) + "\\n").encode())
os._exit(0)
"""


def import_time_code(module: str, path: Sequence[str]) -> str:
    """Code of an errand that answers with seconds.

    :param path: the ``sys.path`` to import with.
    """
    return _CODE.format(module=module, path=[str(place) for place in path])
