"""Operators are map functions of the SAGE that is there."""

from __future__ import annotations

from sagellm_sage.base import StandaloneMapFunction

_BASES = """
    from sagellm_sage import SageLLMEmbedding, SageLLMGenerator
    for operator in (SageLLMGenerator, SageLLMEmbedding):
        print([base.__module__ for base in operator.__mro__ if base.__name__ == "MapFunction"])
"""


def test_of_isage(check, isage) -> None:
    assert check(_BASES, isage) == "['sage.foundation']\n" * 2


def test_of_isage_kernel(check, kernel) -> None:
    assert check(_BASES, kernel) == "['sage.common.core.functions']\n" * 2


def test_the_newer_one_of_two(check, isage, kernel) -> None:
    assert check(_BASES, isage, kernel) == "['sage.foundation']\n" * 2


def test_of_none(check) -> None:
    assert check(_BASES) == "[]\n" * 2


def test_a_broken_sage_is_not_taken_for_none(run, isage) -> None:
    (isage / "sage" / "foundation" / "__init__.py").write_text("import no_such_dependency")
    done = run("-c", "from sagellm_sage import SageLLMGenerator", path=(isage,), fails=True)
    assert "No module named 'no_such_dependency'" in done.stderr


def test_standing_alone_it_has_what_runtimes_give() -> None:
    class Operator(StandaloneMapFunction):
        pass

    operator = Operator()
    assert operator.ctx is None
    assert operator.name == "Operator"
    assert operator.logger.name == "Operator"

    class Context:
        name = "map_0"
        logger = operator.logger

    operator.ctx = Context()
    assert operator.name == "map_0"
    assert operator.logger is Context.logger
