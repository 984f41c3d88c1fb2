"""A program that runs a pipeline of the SAGE that is installed: ``pipeline.py JOB RESULTS``.

The job is JSON with ``items``, ``operator``, ``config`` (the one positional dict) and
``parallelism``; the results are JSON with ``outputs`` in the order in which the sink got them,
and ``seconds`` that ``submit`` took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import sagellm_sage

sagellm_sage.activate()

try:  # isage 0.3
    from sage.foundation import SinkFunction
    from sage.runtime import LocalEnvironment
except ModuleNotFoundError:  # isage-kernel 0.2
    from sage.common.core.functions import SinkFunction
    from sage.kernel.api import LocalEnvironment

from sage.middleware.operators import llm  # noqa: E402 - after the activation

received: list[object] = []


class Collect(SinkFunction):
    def execute(self, data: object) -> None:
        received.append(data)


def main(job: str, results: str) -> None:
    said = json.loads(Path(job).read_text())
    env = LocalEnvironment("real")
    began = time.perf_counter()
    stream = env.from_batch(said["items"])
    operator = getattr(llm, said["operator"])
    stream.map(operator, said["config"], parallelism=said["parallelism"]).sink(Collect)
    env.submit(autostop=True)
    seconds = time.perf_counter() - began
    env.close()
    # Nothing is shut down: the process must end all the same.
    Path(results).write_text(json.dumps({"outputs": received, "seconds": seconds}))


main(*sys.argv[1:])
