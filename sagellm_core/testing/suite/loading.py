"""Group ``contract``: loading models, and what loading gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract.errors import ConfigurationError, ModelError
from sagellm_core.contract.model import LoadVerdict, ModelDescription
from sagellm_core.models import describe
from sagellm_core.testing.damage import DAMAGES
from sagellm_core.testing.finding import fail, require, skip
from sagellm_core.testing.marks import group
from sagellm_core.testing.memory import growth
from sagellm_core.testing.refusing import refuses
from sagellm_core.testing.tiny.family import END, FAMILIES
from sagellm_core.testing.tiny.files import write_model
from sagellm_core.testing.tiny.model import ANY_MODEL
from sagellm_core.testing.tiny.weights import random_weights
from sagellm_core.testing.workbench import Workbench

#: Over the config of the model whose memory is looked for: 16 MiB of embeddings.
_LARGE = {"hidden_size": 512, "vocab_size": 4096, "num_hidden_layers": 1}
_WARM, _CYCLES = 2, 4


@group("contract")
class TestLoading:
    """``sagellm_can_load`` and ``sagellm_load_model``."""

    def test_the_probe_answers_about_a_model(self, bench: Workbench, any_model: str) -> None:
        """Core's own probe hears the answer for each usable device."""
        report = bench.subject.probed(bench.written(any_model).description)
        if report.rejection is not None:
            fail(f"{report.rejection.message} {report.rejection.hint}")
        require(report.answers, "The probe heard no answer of sagellm_can_load.")

    def test_an_unknown_architecture_is_refused(
        self, bench: Workbench, model_on_disk: str, tmp_path: Path
    ) -> None:
        """``no`` with a reason, or ``unknown``, and then a ModelError when it is loaded."""
        place = tmp_path / "model"
        changes = {"model_type": "conformance", "architectures": ["ConformanceForCausalLM"]}
        write_model(place, FAMILIES[model_on_disk], {}, **changes)
        shutil.copy(bench.written(model_on_disk).place / "model.safetensors", place)
        description = describe(str(place), allow_download=False)
        answer = bench.subject.can_load(description)
        require(
            answer.verdict is not LoadVerdict.YES,
            "The plugin says that it can load a model whose model_type is 'conformance'.",
        )
        with refuses("An unknown architecture", ModelError):
            bench.load(description).close()

    def test_the_model_says_what_it_is(self, bench: Workbench, any_model: str) -> None:
        """The values of a LoadedModel, beyond their types, which core has checked."""
        model = bench.exact(any_model)
        description = bench.written(any_model).description
        require(
            model.description.reference == description.reference,
            f"description.reference is {model.description.reference!r}, and "
            f"{description.reference!r} was loaded.",
        )
        require(model.max_model_len > 1, f"max_model_len is {model.max_model_len}.")
        context = description.context_length
        if context is not None:
            require(
                model.max_model_len <= context,
                f"max_model_len is {model.max_model_len}, and the model was made for {context}.",
            )
        require(
            all(isinstance(note, str) and note.strip() for note in model.notes),
            f"notes has something else than sentences: {model.notes!r}.",
        )
        require(model.dtype, "dtype is empty; it says what the model computes in.")
        if any_model != ANY_MODEL and not FAMILIES[any_model].is_encoder:
            require(
                set(model.eos_token_ids) == {END},
                f"eos_token_ids is {set(model.eos_token_ids)}, and the files say {{{END}}}.",
            )

    def test_an_unknown_provider_option_is_refused(self, bench: Workbench, any_model: str) -> None:
        """A misspelt option must not pass in silence."""
        options = {**bench.subject.declaration.provider_options, "no_such_option": 1}
        with refuses("An unknown provider option", ConfigurationError):
            bench.load(bench.written(any_model).description, provider_options=options).close()

    @pytest.mark.parametrize("option", ["dtype", "quantization"])
    def test_an_unknown_name_is_refused(
        self, bench: Workbench, model_on_disk: str, option: str
    ) -> None:
        """A dtype or quantization that nobody has."""
        with refuses(f"An unknown {option}", ConfigurationError):
            bench.load(bench.written(model_on_disk).description, **{option: "float31"}).close()

    @pytest.mark.parametrize("damage", sorted(DAMAGES))
    def test_a_damaged_model_is_refused(
        self, bench: Workbench, model_on_disk: str, tmp_path: Path, damage: str
    ) -> None:
        """Files that were whole when core described them, and are not any more."""
        place = tmp_path / "model"
        shutil.copytree(bench.written(model_on_disk).place, place)
        description: ModelDescription = describe(str(place), allow_download=False)
        DAMAGES[damage](place)
        with refuses(f"A model that is damaged ({damage.replace('_', ' ')})", ModelError):
            bench.load(description).close()

    def test_models_close_twice(self, bench: Workbench, any_model: str) -> None:
        """``LoadedModel.close`` may be called twice."""
        model = bench.load(bench.written(any_model).description)
        model.close()
        closes_again(model.close, "LoadedModel.close")

    def test_closed_models_return_their_memory(
        self, bench: Workbench, model_on_disk: str, tmp_path: Path
    ) -> None:
        """Opened and closed again and again, models do not add up, even while referred to."""
        family = FAMILIES[model_on_disk]
        place = tmp_path / "model"
        tensors = random_weights(family, _LARGE)
        write_model(place, family, tensors, **_LARGE)
        description = describe(str(place), allow_download=False)
        kept: list[Any] = []

        def cycle() -> None:
            model = bench.load(description, dtype="float32")
            model.close()
            kept.append(model)

        grown = growth(cycle, warm=_WARM, times=_CYCLES)
        if grown is None:
            skip("This system does not tell how much memory a process holds.")
        size = sum(tensor.nbytes for tensor in tensors.values())
        require(
            grown < 2 * size,
            f"{_CYCLES} models of {size / 2**20:.0f} MiB were loaded and closed, and the process "
            f"holds {grown / 2**20:.0f} MiB more.",
        )


def closes_again(close: Callable[[], None], what: str) -> None:
    """``close()`` of what is closed already must do nothing."""
    try:
        close()
    except Exception as error:
        fail(f"{what} was called twice, and raised {type(error).__name__}: {error}")
