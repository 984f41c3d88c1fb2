"""The user's wishes, and names nobody has."""

from __future__ import annotations

import pytest

from sagellm_core.contract import ConfigurationError
from sagellm_core.providers import Controls


def test_nothing_set() -> None:
    assert Controls.from_environment({}) == Controls()


def test_every_variable() -> None:
    controls = Controls.from_environment(
        {
            "SAGELLM_BACKEND": " npu ",
            "SAGELLM_PLUGINS": "npu, cpu,,npu",
            "SAGELLM_DISABLE_PLUGINS": "gpu",
            "SAGELLM_PLUGIN_AUTOLOAD": "0",
            "SAGELLM_DEVICE_ORDER": "npu:npu:1,cpu",
        },
        disable=["mock", "gpu"],
        allow_fallback=True,
    )
    assert controls == Controls(
        backend="npu",
        allow=("npu", "cpu"),
        block=("gpu", "mock"),
        autoload=False,
        device_order=("npu:npu:1", "cpu"),
        allow_fallback=True,
    )


@pytest.mark.parametrize(
    ("backend", "chosen"), [(None, "env"), ("auto", "env"), ("", "env"), ("arg", "arg")]
)
def test_a_backend_named_by_the_caller_wins(backend: str | None, chosen: str) -> None:
    controls = Controls.from_environment({"SAGELLM_BACKEND": "env"}, backend=backend)
    assert controls.backend == chosen


def test_blank_variables_are_no_wishes() -> None:
    blank = dict.fromkeys(["SAGELLM_BACKEND", "SAGELLM_PLUGINS", "SAGELLM_PLUGIN_AUTOLOAD"], " ")
    assert Controls.from_environment(blank) == Controls()


@pytest.mark.parametrize(("value", "on"), [("1", True), ("off", False), ("False", False)])
def test_the_switch(value: str, on: bool) -> None:
    assert Controls.from_environment({"SAGELLM_PLUGIN_AUTOLOAD": value}).autoload is on


def test_a_switch_that_is_neither_on_nor_off() -> None:
    with pytest.raises(ConfigurationError, match="SAGELLM_PLUGIN_AUTOLOAD='maybe'"):
        Controls.from_environment({"SAGELLM_PLUGIN_AUTOLOAD": "maybe"})


@pytest.mark.parametrize(
    ("controls", "where"),
    [
        (Controls(allow=("asend",)), "SAGELLM_PLUGINS"),
        (Controls(block=("asend",)), "-p no:NAME"),
        (Controls(device_order=("asend:npu:0",)), "SAGELLM_DEVICE_ORDER"),
    ],
)
def test_a_name_that_nobody_has_is_an_error(controls: Controls, where: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        controls.check_names({"ascend", "cpu"})
    assert where in caught.value.message
    assert "Did you mean 'ascend'?" in caught.value.hint


def test_the_installed_names_are_said_even_when_nothing_is_close() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Controls(block=("zzz",)).check_names({"cpu", "ascend"})
    assert caught.value.hint == "Installed plugins: ascend, cpu."
