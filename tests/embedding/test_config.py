"""What an embedding engine is made from."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from sagellm_core import EmbeddingEngine
from sagellm_core.contract import ConfigurationError
from sagellm_core.embedding import EmbeddingConfig


def test_a_dict_is_the_whole_configuration() -> None:
    whole = {"backend_type": "mock", "model_path": Path("m"), "disable_plugins": ["cpu"]}
    for engine in (
        EmbeddingEngine(whole),
        EmbeddingEngine(**whole),
        EmbeddingEngine("mock", "m", disable_plugins=["cpu"]),
        EmbeddingEngine(EmbeddingEngine(whole).config),
    ):
        assert engine.config == EmbeddingConfig(
            backend_type="mock", model_path="m", disable_plugins=("cpu",)
        )
    assert EmbeddingEngine(whole, truncate=False).config.truncate is False


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {"model": "m"}, "Unknown configuration key 'model'.*'model_path'"),
        (({"batchsize": 3},), {}, "Unknown configuration key 'batchsize'.*'batch_size'"),
        (({"zzz": 3},), {}, "Unknown configuration key 'zzz'.*Known keys: backend_type"),
        (({3: 3},), {}, "Unknown configuration key 3"),
        (("mock", "m", "mean"), {}, "3 positional arguments were given; there are 2"),
        (({"model_path": "m"}, "m"), {}, "only positional argument"),
        (({"model_path": "m"},), {"model_path": "n"}, "model_path was given twice"),
        (("mock",), {"backend_type": "mock"}, "backend_type was given twice"),
        ((), {"max_length": 0}, "max_length=0 .*greater than or equal to 1"),
        ((), {"batch_size": True}, "batch_size=True .*integer"),
        ((), {"batch_size": "8"}, "batch_size='8' .*Most texts computed at once"),
        ((), {"truncate": "no"}, "truncate='no'"),
        ((), {"model_path": None}, "model_path=None"),
        ((), {"provider_options": "x" * 1000}, r"provider_options='x+\.\.\. "),
    ],
)
def test_what_cannot_be_right(args: tuple[Any, ...], kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        EmbeddingEngine(*args, **kwargs)
    assert re.search(said, str(caught.value)), str(caught.value)


@pytest.mark.parametrize(("device", "index"), [("auto", None), ("cuda", None), ("npu:12", 12)])
def test_a_device_is_an_index(device: str, index: int | None) -> None:
    assert EmbeddingConfig(device=device).device_index == index


@pytest.mark.parametrize("device", ["npu:", "npu:x", "npu:-1", "npu:²", "npu:" + "9" * 5000])
def test_a_device_without_a_number(device: str) -> None:
    with pytest.raises(ConfigurationError, match="device number"):
        _ = EmbeddingConfig(device=device).device_index


def test_help_shows_every_field() -> None:
    parameters = inspect.signature(EmbeddingEngine).parameters
    assert tuple(parameters) == tuple(EmbeddingConfig.model_fields)
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    assert [name for name, each in parameters.items() if each.kind is not keyword_only] == [
        "backend_type",
        "model_path",
    ]
    assert all(field.description for field in EmbeddingConfig.model_fields.values())
