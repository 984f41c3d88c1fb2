from __future__ import annotations

import importlib
import inspect
import warnings
from pathlib import Path
from types import ModuleType

import pytest

from sagellm_core import sagellm_registry
from sagellm_core.models import ModelNotFoundError, add_model


@pytest.fixture
def vllm_registry() -> ModuleType:
    return importlib.import_module("sagellm_core.models.vllm_registry")


def test_importing_it_says_nothing_and_each_call_names_its_replacement(
    vllm_registry: ModuleType, hf_dir: Path
) -> None:
    with pytest.warns(DeprecationWarning, match=r"use sagellm_registry\.list_models"):
        assert vllm_registry.list_models() == []
    add_model("x", hf_dir)
    with pytest.warns(DeprecationWarning, match=r"sagellm_registry\.get_model_path"):
        assert vllm_registry.get_model_path("x") == hf_dir
    with pytest.warns(DeprecationWarning, match="ensure_model_available"):
        assert vllm_registry.ensure_model_available("x") == hf_dir
    with pytest.warns(DeprecationWarning, match="touch_model"):
        assert vllm_registry.touch_model("x")
    with pytest.warns(DeprecationWarning, match="fetch_recommended_models"):
        assert vllm_registry.fetch_recommended_models()
    with pytest.warns(DeprecationWarning, match="delete_model"):
        assert vllm_registry.delete_model("x")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_missing_model_raises_as_it_did(vllm_registry: ModuleType, hf_dir: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="'x' is not on this machine") as caught:
        vllm_registry.get_model_path("x")
    assert isinstance(caught.value, RuntimeError)
    assert "sagellm models download x" in caught.value.hint
    add_model("x", hf_dir)
    (hf_dir / "config.json").unlink()
    with pytest.raises(ModelNotFoundError):
        vllm_registry.get_model_path("x")
    with pytest.raises(ModelNotFoundError):
        vllm_registry.ensure_model_available("org/y", auto_download=False)


def test_it_warns_once_for_each_place_that_calls(vllm_registry: ModuleType) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            vllm_registry.list_models()
        vllm_registry.list_models()
    assert len(caught) == 2
    assert {warning.filename for warning in caught} == {__file__}


def test_it_has_the_parameters_of_its_replacement(vllm_registry: ModuleType) -> None:
    for name in vllm_registry.__all__:
        theirs, ours = getattr(vllm_registry, name), getattr(sagellm_registry, name)
        if inspect.isfunction(theirs):
            assert list(inspect.signature(theirs).parameters) == list(
                inspect.signature(ours).parameters
            )
        else:
            assert theirs is ours
