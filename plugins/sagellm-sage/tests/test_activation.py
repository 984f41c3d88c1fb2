"""Where another package owns the import paths: theirs by default, ours when asked for."""

from __future__ import annotations

import pytest

_OURS = "sagellm_sage.generator"
_THEIRS = "sage.middleware.operators.llm.sagellm_generator"


def test_by_default_the_paths_are_theirs(check, kernel) -> None:
    out = check(
        """
        import sagellm_sage
        from sage.middleware.operators.llm import SageLLMGenerator
        from sage.common.model_registry import sagellm_registry
        print(SageLLMGenerator.__module__, sagellm_registry.OWNER, sagellm_sage.is_active())
        """,
        kernel,
    )
    assert out == f"{_THEIRS} sage False\n"


@pytest.mark.parametrize(
    "before",
    [
        "pass",
        "import sage.common",
        "import sage.middleware.operators",
        "import sage.middleware.operators.llm, sage.common.model_registry",
        "import sagellm_sage.generator",
    ],
)
@pytest.mark.parametrize("times", [1, 2])
def test_activated_they_are_ours_in_any_order(check, kernel, before, times) -> None:
    out = check(
        f"""
        {before}
        import sagellm_sage
        for _ in range({times}):
            sagellm_sage.activate()
        import sage.middleware.operators.llm as by_module
        from sage.middleware.operators import SageLLMGenerator as handed_on, llm
        from sage.middleware.operators.llm import SageLLMGenerator
        from sage.middleware.operators.llm.sagellm_generator import SageLLMGenerator as deepest
        import sage.common.model_registry.sagellm_registry as registry
        from sage.common import model_registry
        import sagellm_core.models.registry as ours
        assert registry is ours is model_registry.sagellm_registry
        assert llm is by_module
        found = (handed_on, llm.SageLLMGenerator, SageLLMGenerator, deepest)
        print({{each.__module__ for each in found}})
        print(sagellm_sage.is_active())
        """,
        kernel,
    )
    assert out == f"{{'{_OURS}'}}\nTrue\n"


def test_activated_the_operator_is_their_map_function(check, kernel) -> None:
    check(
        """
        import sagellm_sage
        sagellm_sage.activate()
        from sage.common.core.functions import MapFunction
        from sage.middleware.operators.llm import SageLLMGenerator
        assert issubclass(SageLLMGenerator, MapFunction)
        """,
        kernel,
    )


@pytest.mark.parametrize("before", ["pass", "import sage.middleware.operators.llm, sage.common"])
def test_deactivated_they_are_theirs_again(check, kernel, before) -> None:
    out = check(
        f"""
        {before}
        import sagellm_sage
        sagellm_sage.activate()
        import sage.middleware.operators.llm, sage.common.model_registry
        sagellm_sage.deactivate()
        sagellm_sage.deactivate()
        from sage.middleware.operators import SageLLMGenerator as handed_on
        from sage.middleware.operators.llm import SageLLMGenerator
        from sage.common.model_registry import sagellm_registry
        print(SageLLMGenerator.__module__, handed_on.__module__, sagellm_registry.OWNER)
        """,
        kernel,
    )
    assert out == f"{_THEIRS} {_THEIRS} sage\n"


@pytest.mark.parametrize("layout", ["isage", None])
def test_where_nobody_owns_them_it_changes_nothing(check, request, layout) -> None:
    paths = [request.getfixturevalue(layout)] if layout else []
    out = check(
        """
        import sagellm_sage
        from sage.middleware.operators import llm as before
        sagellm_sage.activate()
        from sage.middleware.operators import llm as active
        sagellm_sage.deactivate()
        from sage.middleware.operators import llm as after
        assert before is active
        print(after.SageLLMGenerator.__module__)
        """,
        *paths,
    )
    assert out == f"{_OURS}\n"


def test_names_that_went_away_say_so_when_activated(run, kernel) -> None:
    code = (
        "import sagellm_sage; sagellm_sage.activate()\n"
        "from sage.middleware.operators.llm import VLLMGenerator"
    )
    done = run("-c", code, path=(kernel,), fails=True)
    assert "ImportError: VLLMGenerator went away with vLLM" in done.stderr


def test_other_modules_of_theirs_are_not_touched(check, kernel) -> None:
    out = check(
        """
        import sagellm_sage
        sagellm_sage.activate()
        import sage.common.core.functions as functions
        print(functions.__file__)
        """,
        kernel,
    )
    assert out.startswith(str(kernel))


def test_a_pickled_operator_needs_no_activation(check, kernel, tmp_path) -> None:
    place = tmp_path / "operator.pickle"
    check(
        f"""
        import pickle, sagellm_sage
        sagellm_sage.activate()
        from sage.middleware.operators.llm import SageLLMGenerator
        open({str(place)!r}, "wb").write(pickle.dumps(SageLLMGenerator("mock", "any")))
        """,
        kernel,
    )
    out = check(f"import pickle; print(pickle.load(open({str(place)!r}, 'rb')).name)", kernel)
    assert out == "SageLLMGenerator\n"
