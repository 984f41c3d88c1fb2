"""Side by side with the real package: import paths, base class, files."""

from __future__ import annotations

from importlib.metadata import files

import pytest

_BASES = {
    "none": "sagellm_sage.base",
    "isage==0.3.2.4": "sage.foundation.core",
    "isage-kernel==0.2.5.3": "sage.common.core.functions.map_function",
}


@pytest.fixture
def program(run):
    """Run code with what SAGE itself warns about let through."""
    return lambda code, **how: run("-W", "default", "-c", code, **how)


def test_the_import_paths_of_the_notice(sage, program) -> None:
    activate = "import sagellm_sage; sagellm_sage.activate()\n" if "kernel" in sage else ""
    done = program(f"""{activate}
from sage.middleware.operators.llm import SageLLMGenerator, SageLLMEmbedding
from sage.common.model_registry import sagellm_registry
gen = SageLLMGenerator(backend_type="mock", model_path="any")
result = gen.execute("Hello")
assert result["text"]
assert sagellm_registry.get_model_path("model-id") is None
print(SageLLMGenerator.__module__, SageLLMGenerator.__mro__[2].__module__)
""")
    assert done.stdout == f"sagellm_sage.generator {_BASES[sage]}\n"


def test_without_activation_isage_kernel_keeps_its_own(sage, program) -> None:
    if "kernel" not in sage:
        pytest.skip("isage-kernel is not installed")
    done = program(
        "from sage.middleware.operators.llm import SageLLMGenerator as g; print(g.__module__)"
    )
    assert done.stdout == "sage.middleware.operators.llm.sagellm_generator\n"


@pytest.mark.parametrize(
    "before", ["pass", "import sage.middleware.operators.llm, sage.common.model_registry"]
)
def test_activation_in_either_order(sage, program, before) -> None:
    if sage == "none":
        before = "pass"
    done = program(f"""
{before}
import sagellm_sage
sagellm_sage.activate()
from sage.middleware.operators.llm.sagellm_generator import SageLLMGenerator as deep
from sage.middleware.operators.llm import SageLLMGenerator
from sage.common.model_registry import list_models
import sage.middleware.operators as operators
handed_on = getattr(operators, "SageLLMGenerator", SageLLMGenerator)
print({{each.__module__ for each in (deep, SageLLMGenerator, handed_on)}}, list_models.__module__)
sagellm_sage.deactivate()
from sage.middleware.operators.llm import SageLLMGenerator
print(SageLLMGenerator.__module__)
""")
    first, second = done.stdout.splitlines()
    assert first == "{'sagellm_sage.generator'} sagellm_core.models.registry"
    own = "sage.middleware.operators.llm.sagellm_generator"
    assert second == (own if "kernel" in sage else "sagellm_sage.generator")


@pytest.mark.parametrize("name", ["VLLMGenerator", "VLLMEmbedding"])
def test_names_that_went_away(sage, program, name) -> None:
    done = program(
        "import sagellm_sage; sagellm_sage.activate()\n"
        f"from sage.middleware.operators.llm import {name}",
        fails=True,
    )
    assert f"ImportError: {name} went away with vLLM" in done.stderr


def test_a_script_without_a_change(sage, program, run, tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from sage.middleware.operators.llm import SageLLMGenerator as g; print(g.__module__)"
    )
    done = run("-W", "default", "-m", "sagellm_sage", str(script))
    assert done.stdout == "sagellm_sage.generator\n"


def test_no_file_of_ours_is_another_distributions(sage) -> None:
    def names(dist: str) -> set[str]:
        found = {str(file) for file in files(dist) or () if "__pycache__" not in file.parts}
        assert found
        return found

    ours = names("sagellm-sage")
    if not any(name.startswith("sage/") for name in ours):
        pytest.skip("sagellm-sage is installed as editable")
    assert {name for name in ours if name.startswith("sage/")} == {
        "sage/middleware/operators/llm.py",
        "sage/common/model_registry.py",
    }
    others = {
        "isage==0.3.2.4": ["isage"],
        "isage-kernel==0.2.5.3": ["isage-kernel", "isage-common"],
    }
    for dist in others.get(sage, []):
        assert not ours & names(dist)
