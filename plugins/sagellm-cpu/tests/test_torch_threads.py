"""Threads of torch, and processes that fork."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

_PROGRAM = """
    import logging, os, signal, sys
    import torch
    from sagellm_cpu.adapter import CPUAdapter

    def multiply():
        a = torch.ones(700, 700)
        assert (a @ a)[0, 0] == 700
        return (a + 1).sum().item()

    CPUAdapter({"threads": int(sys.argv[1]), "native": "off"})
    multiply()
    child = os.fork()
    if not child:
        signal.alarm(60)
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        CPUAdapter({"threads": 3, "native": "off"})
        multiply()
        print(torch.get_num_threads(), flush=True)
        grandchild = os.fork()
        if not grandchild:
            signal.alarm(60)
            CPUAdapter({"threads": 1, "native": "off"})
            multiply()
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_fork_of_a_process_that_computed_computes(threads: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_PROGRAM), str(threads)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if threads == 1:  # no thread was lost
        assert done.stdout.splitlines()[-1] == "3"
        assert "forked" not in done.stdout
    else:
        *notices, count = done.stdout.splitlines()
        assert "one thread here, not 3" in notices[-1]
        assert count == "1"
