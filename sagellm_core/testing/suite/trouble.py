"""Group ``engine``: core's engine over the plugin's runner, when something goes wrong."""

from __future__ import annotations

import pytest

from sagellm_core.contract.errors import (
    DeviceLostError,
    DeviceOutOfMemoryError,
    EngineClosedError,
)
from sagellm_core.contract.plugin import Capability
from sagellm_core.contract.runner import QueueingRunner, Runner
from sagellm_core.testing.engines import answers, course_of, engine_over, opened_engine
from sagellm_core.testing.finding import fail, require, skip
from sagellm_core.testing.injection import FaultyRunner, When
from sagellm_core.testing.marks import group, needs
from sagellm_core.testing.refusing import refuses
from sagellm_core.testing.workbench import Workbench

_COUNT = 20
_LENGTHS = (9, 30, 3, 17)


@group("engine")
@needs(Capability.GENERATE)
class TestTrouble:
    """Core's engine over the plugin's runner, with errors put between the two."""

    @pytest.mark.parametrize("when", list(When))
    def test_out_of_memory_is_survived(
        self, bench: Workbench, one_decoder: str, when: When
    ) -> None:
        """Steps that did not fit are tried again with fewer rows, and the answers are the same."""
        prompts = [bench.tiny(one_decoder).prompt(length, seed=length) for length in _LENGTHS]
        with opened_engine(bench, one_decoder) as engine:
            wanted = answers(bench, engine, prompts, _COUNT)
        faulty: list[FaultyRunner] = []

        def wrap(runner: Runner) -> Runner:
            # With one row left there is nothing to try again with.
            faulty.append(FaultyRunner(runner, {3: when, 6: when}, _out_of_memory, rows=2))
            return faulty[0]

        with engine_over(bench, one_decoder, wrap) as engine:
            found = answers(bench, engine, prompts, _COUNT, return_errors=True)
        require(faulty[0].failed, "The engine never came to the calls that were to fail.")
        for prompt, one, other in zip(prompts, wanted, found, strict=True):
            if other.error is not None:
                fail(f"A request ended in {other.error} after a step was out of memory.")
            bench.judge(one_decoder).check_same(
                course_of(prompt, one), course_of(prompt, other), "After a step out of memory"
            )

    def test_a_lost_device_ends_every_request(self, bench: Workbench, one_decoder: str) -> None:
        """Each with a typed error, and then closing works, and so does a new runner."""
        prompts = [bench.tiny(one_decoder).prompt(length, seed=length) for length in _LENGTHS]

        def wrap(runner: Runner) -> Runner:
            return FaultyRunner(runner, {5: When.BEFORE}, _device_lost)

        with engine_over(bench, one_decoder, wrap) as engine:
            for answer in answers(bench, engine, prompts, _COUNT, return_errors=True):
                require(
                    isinstance(answer.error, (EngineClosedError, DeviceLostError)),
                    f"A request on a device that was lost ended with {answer.error!r}.",
                )
            with refuses("A request after the device was lost", EngineClosedError):
                answers(bench, engine, prompts[:1], 1)
        with opened_engine(bench, one_decoder) as engine:
            answers(bench, engine, prompts, 2)

    def test_steps_ahead_give_the_same(self, bench: Workbench, one_decoder: str) -> None:
        """Handing over a step before the last one is read changes no token."""
        with bench.runner(one_decoder) as runner:
            if not (isinstance(runner, QueueingRunner) and runner.queues_ahead):
                skip("The runner does not ask for steps ahead.")
        prompts = [bench.tiny(one_decoder).prompt(length, seed=length) for length in _LENGTHS]
        with opened_engine(bench, one_decoder) as engine:
            ahead = answers(bench, engine, prompts, _COUNT)
        with engine_over(bench, one_decoder, FaultyRunner) as engine:
            plain = answers(bench, engine, prompts, _COUNT)
        for prompt, one, other in zip(prompts, plain, ahead, strict=True):
            bench.judge(one_decoder).check_same(
                course_of(prompt, one), course_of(prompt, other), "With steps handed over ahead"
            )


def _out_of_memory() -> DeviceOutOfMemoryError:
    return DeviceOutOfMemoryError("The suite says that the step did not fit.", hint="Go on.")


def _device_lost() -> DeviceLostError:
    return DeviceLostError("The suite says that the device is gone.", hint="Close.")
