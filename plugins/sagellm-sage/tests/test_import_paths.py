"""The two import paths of the migration notice, where no SAGE is."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "code",
    [
        "from sage.middleware.operators.llm import SageLLMGenerator as found",
        "import sage.middleware.operators.llm as llm; found = llm.SageLLMGenerator",
        "from sage.middleware.operators import llm; found = llm.SageLLMGenerator",
        "from sage.middleware.operators.llm.sagellm_generator import SageLLMGenerator as found",
        "import sage.middleware.operators.llm.sagellm_generator as m; found = m.SageLLMGenerator",
    ],
)
def test_generator(check, code) -> None:
    check(f"{code}\nimport sagellm_sage.generator as ours\nassert found is ours.SageLLMGenerator")


@pytest.mark.parametrize(
    "code",
    [
        "from sage.common.model_registry import sagellm_registry as found",
        "import sage.common.model_registry.sagellm_registry as found",
        "import sage.common.model_registry as m; found = m.sagellm_registry",
        "from sage.common import model_registry as m; found = m.sagellm_registry",
    ],
)
def test_registry(check, code) -> None:
    check(f"{code}\nimport sagellm_core.models.registry as ours\nassert found is ours")


@pytest.mark.parametrize("name", ["list_models", "get_model_path", "ModelInfo", "delete_model"])
def test_registry_functions_by_name(check, name) -> None:
    check(f"""
        from sage.common.model_registry import {name}
        from sage.common.model_registry.sagellm_registry import {name} as direct
        assert {name} is direct
    """)


def test_operators_and_engine_for_embeddings(check) -> None:
    check("""
        from sage.middleware.operators.llm import EmbeddingEngine, SageLLMEmbedding
        import sagellm_core.embedding, sagellm_sage.embedding
        assert EmbeddingEngine is sagellm_core.embedding.EmbeddingEngine
        assert SageLLMEmbedding is sagellm_sage.embedding.SageLLMEmbedding
    """)


@pytest.mark.parametrize("name", ["VLLMGenerator", "VLLMEmbedding"])
def test_names_that_went_away_show_the_new_code(run, name) -> None:
    code = f"from sage.middleware.operators.llm import {name}"
    done = run("-c", code, fails=True)
    last = done.stderr[done.stderr.index("ImportError: ") :]
    assert last.startswith(f"ImportError: {name} went away with vLLM")
    new = name.replace("VLLM", "SageLLM")
    assert f"from sage.middleware.operators.llm import {new}" in last
    # What it shows is code that parses.
    shown = [line.strip() for line in last.splitlines() if line.startswith("    ")]
    compile("\n".join(shown), "shown", "exec")


def test_old_fallbacks_keep_working(check) -> None:
    out = check("""
        try:
            from sage.middleware.operators.llm import VLLMGenerator
        except ImportError:
            print("no vLLM")
    """)
    assert out == "no vLLM\n"


def test_introspection_does_not_meet_them(check) -> None:
    check("""
        import inspect, sage.middleware.operators.llm as llm
        from sage.middleware.operators.llm import *
        assert SageLLMGenerator and SageLLMEmbedding and EmbeddingEngine
        assert not [name for name in dir(llm) if "VLLM" in name]
        inspect.getmembers(llm)
        assert not hasattr(llm, "unknown")
    """)


def test_an_unknown_name_is_an_ordinary_import_error(run) -> None:
    done = run("-c", "from sage.middleware.operators.llm import Unknown", fails=True)
    assert "cannot import name 'Unknown'" in done.stderr
    done = run("-c", "import sage.common.model_registry.unknown", fails=True)
    assert "No module named 'sage.common.model_registry.unknown'" in done.stderr


def test_the_old_registry_has_a_stand_in(check) -> None:
    check("""
        from sage.common.model_registry import vllm_registry
        import sagellm_core.models.vllm_registry as ours
        assert vllm_registry is ours
    """)


def test_importing_the_package_or_a_path_loads_no_model_code(check) -> None:
    out = check("""
        import sys, sagellm_sage, sage.middleware.operators.llm
        print([m for m in ("torch", "numpy", "pydantic", "sagellm_core") if m in sys.modules])
    """)
    assert out == "[]\n"
