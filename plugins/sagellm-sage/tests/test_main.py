"""``python -m sagellm_sage``: a program with activation, unchanged."""

from __future__ import annotations

import textwrap

import pytest

_PROGRAM = textwrap.dedent("""
    import sys
    from neighbour import VALUE
    from sage.middleware.operators.llm import SageLLMGenerator
    if __name__ == "__main__":
        print(SageLLMGenerator.__module__, sys.argv[1:], VALUE)
        sys.exit(7)
""")


@pytest.fixture
def program(tmp_path):
    place = tmp_path / "here"
    place.mkdir()
    (place / "neighbour.py").write_text("VALUE = 5")
    (place / "program.py").write_text(_PROGRAM)
    return place / "program.py"


def test_a_script(run, kernel, program) -> None:
    done = run("-m", "sagellm_sage", str(program), "-x", "1", path=(kernel,), fails=True)
    assert done.stdout == "sagellm_sage.generator ['-x', '1'] 5\n", done.stderr
    assert done.returncode == 7


def test_a_module(run, kernel, program) -> None:
    arguments = ("-m", "sagellm_sage", "-m", "program", "-h")
    done = run(*arguments, path=(kernel, program.parent), fails=True)
    assert done.stdout == "sagellm_sage.generator ['-h'] 5\n", done.stderr
    assert done.returncode == 7


def test_the_same_script_by_itself_gets_theirs(run, kernel, program) -> None:
    done = run(str(program), path=(kernel,), fails=True)
    assert done.stdout.startswith("sage.middleware.operators.llm.sagellm_generator")


@pytest.mark.parametrize("arguments", [[], ["-m"], ["-x"], ["no_such_file.py"]])
def test_wrong_usage(run, arguments) -> None:
    done = run("-m", "sagellm_sage", *arguments, fails=True)
    assert done.returncode == 2
    assert "python -m sagellm_sage" in done.stderr
    assert not done.stdout


def test_help(run) -> None:
    assert run("-m", "sagellm_sage", "--help").stdout.startswith("usage: python -m sagellm_sage")
