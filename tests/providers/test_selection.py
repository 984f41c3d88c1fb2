"""Choosing a provider, with plugins that are really installed and really probed."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import (
    BrokenProviderError,
    ConfigurationError,
    DeviceUnavailableError,
    DuplicateProviderError,
    IncompatibleProviderError,
    InsufficientMemoryError,
    ModelDescription,
    ModelFormat,
    ModelFormatError,
    ModelNotFoundError,
    NoProviderError,
    SageLLMError,
    UnknownProviderError,
    UnsupportedModelError,
)
from sagellm_core.models import ModelNotLocalError
from sagellm_core.providers import Controls, ProviderChoice, choose_provider, refusal

ABSENT = "[DeviceInfo(id='d', state='absent', reason='no chip on the bus', hint='Buy one.')]"
UNUSABLE = "[DeviceInfo(id='d', state='present_unusable', reason='no driver', hint='Get it.')]"
TWO = "[DeviceInfo(id=f'npu:{i}', state='usable') for i in (4, 7)]"


class Describer:
    """Stands in for the models floor: local models, models on a hub, and broken ones."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []

    def __call__(self, reference: str, *, allow_download: bool) -> ModelDescription:
        self.calls.append((reference, allow_download))
        if reference == "local" or (reference == "hub" and allow_download):
            return ModelDescription(
                reference=reference, format=ModelFormat.GGUF, path=Path(f"/{reference}.gguf")
            )
        if reference == "hub":
            raise ModelNotLocalError("'hub' is not on disk.")
        if reference == "broken":
            raise ModelFormatError("'broken' is truncated.")
        raise ModelNotFoundError(f"{reference!r} leads nowhere.")


def choose(controls: Controls, reference: str = "local", **options: Any) -> ProviderChoice:
    return choose_provider(reference, controls, describe=options.pop("d", Describer()), **options)


class TestAuto:
    def test_the_accelerator_before_the_cpu_and_why(self, plugin_site: Any) -> None:
        plugin_site.add("aaa", device_class="CPU", priority=9)
        plugin_site.add("npu")
        choice = choose(plugin_site.controls())
        assert (choice.entry.name, choice.device.id) == ("npu", "dev:0")
        assert choice.why == "npu on dev:0 is before aaa on dev:0: accelerator before cpu."
        assert choice.model.path == Path("/local.gguf")
        assert choice.load_answer is not None
        assert choice.load_answer.bytes_needed == 1
        assert choice.others[0].title == "aaa on dev:0"

    def test_the_only_one(self, plugin_site: Any) -> None:
        plugin_site.add("cpux", device_class="CPU")
        plugin_site.add("npu", devices=ABSENT)
        choice = choose(plugin_site.controls())
        assert choice.why == "cpux on dev:0 is the only provider here that can run the model."
        rejected = {each.entry.name: each.rejection for each in choice.others}
        assert rejected["npu"] is not None
        assert rejected["npu"].code == "no_device"
        assert choice.warnings == ()

    def test_a_simulation_is_never_chosen(self, plugin_site: Any) -> None:
        plugin_site.add("sim", device_class="SIMULATED", capabilities="frozenset({'any_model'})")
        with pytest.raises(NoProviderError, match="computes nothing real"):
            choose(plugin_site.controls())

    def test_no_provider_says_each_ones_reason_and_hint(self, plugin_site: Any) -> None:
        plugin_site.add("gone", devices=ABSENT)
        plugin_site.add("cannot", verdict="LoadAnswer(verdict='no', reason='no mamba')")
        plugin_site.add("old", requires=["sagellm-core>=9"])
        plugin_site.add("bad", detect="raise RuntimeError('no luck')")
        with pytest.raises(NoProviderError) as caught:
            choose(plugin_site.controls())
        for reason in ("no chip on the bus", "no mamba", "needs sagellm-core >=9", "no luck"):
            assert reason in caught.value.message
        # The first line is that of the plugins that the test leaves out.
        assert caught.value.hint.splitlines()[-4:] == [
            "bad: Upgrade it (pip install -U sagellm-bad), or leave it out with"
            " SAGELLM_DISABLE_PLUGINS=bad.",
            "cannot: Use another model, or a provider that covers this one.",
            "gone: Buy one.",
            'old: Run: pip install "sagellm-core>=9"',
        ]
        assert "RuntimeError" in str(caught.value.__cause__)

    def test_none_installed(self) -> None:
        error = refusal.nothing_at_all([], "m")
        assert error.message == "No sagellm provider is installed."
        assert "pip install sagellm-NAME" in error.hint

    @pytest.mark.parametrize(
        ("reference", "error"), [("broken", ModelFormatError), ("nowhere", ModelNotFoundError)]
    )
    def test_a_bad_model_is_said_before_any_plugin_is_started(
        self, plugin_site: Any, reference: str, error: type[SageLLMError]
    ) -> None:
        witness = plugin_site.path / "witness"
        plugin_site.add("npu", head=f"open({str(witness)!r}, 'w')")
        with pytest.raises(error):
            choose(plugin_site.controls(), reference)
        assert not witness.exists()

    def test_a_model_on_the_hub_is_fetched_once_something_could_run_it(
        self, plugin_site: Any
    ) -> None:
        plugin_site.add("npu", can_load="return LoadAnswer(verdict='no', reason='too new')")
        plugin_site.add(
            "cpux",
            device_class="CPU",
            can_load="assert model.path; return LoadAnswer(verdict='yes')",
        )
        describer = Describer()
        choice = choose(plugin_site.controls(), "hub", d=describer)
        assert describer.calls == [("hub", False), ("hub", True)]
        assert choice.entry.name == "cpux"
        assert choice.model.path == Path("/hub.gguf")

    def test_nothing_is_fetched_when_nothing_could_run_it(self, plugin_site: Any) -> None:
        plugin_site.add("npu", devices=ABSENT)
        describer = Describer()
        with pytest.raises(NoProviderError):
            choose(plugin_site.controls(), "hub", d=describer)
        assert describer.calls == [("hub", False)]

    def test_an_index_chooses_among_devices(self, plugin_site: Any) -> None:
        plugin_site.add("npu", devices=TWO)
        plugin_site.add("cpux", device_class="CPU", devices="[DeviceInfo(id='c', state='usable')]")
        assert choose(plugin_site.controls(), device_index=7).device.id == "npu:7"
        assert choose(plugin_site.controls(), device_index=0).device.id == "c"


class TestBroken:
    """A plugin that is broken although its hardware is present is an error under ``auto``."""

    CASES = (
        ({"devices": UNUSABLE}, DeviceUnavailableError, "no driver"),
        ({"can_load": "os._exit(9)"}, BrokenProviderError, "left with code 9"),
        ({"can_load": "raise KeyError('x')"}, BrokenProviderError, "raised KeyError"),
        ({"can_load": "return 3"}, BrokenProviderError, "returned a int"),
    )

    @pytest.mark.parametrize(("broken", "error", "reason"), CASES)
    def test_it_is_an_error_with_ways_out(
        self, plugin_site: Any, broken: dict[str, str], error: type[SageLLMError], reason: str
    ) -> None:
        plugin_site.add("npu", **broken)
        plugin_site.add("cpux", device_class="CPU")
        with pytest.raises(error) as caught:
            choose(plugin_site.controls())
        assert reason in caught.value.message
        for way in ("--allow-fallback", "SAGELLM_DISABLE_PLUGINS=npu", "--backend cpux"):
            assert way in caught.value.hint

    def test_a_command_in_the_hint_ends_with_its_line(self, plugin_site: Any) -> None:
        plugin_site.add("npu", devices=UNUSABLE.replace("Get it.", "Run: npu-setup"))
        plugin_site.add("cpux", device_class="CPU")
        with pytest.raises(DeviceUnavailableError) as caught:
            choose(plugin_site.controls())
        assert caught.value.hint.splitlines()[0] == "Run: npu-setup"

    @pytest.mark.parametrize(("broken", "error", "reason"), CASES)
    def test_unless_falling_back_is_allowed_which_is_said(
        self,
        plugin_site: Any,
        broken: dict[str, str],
        error: type[SageLLMError],
        reason: str,
    ) -> None:
        plugin_site.add("npu", **broken)
        plugin_site.add("cpux", device_class="CPU")
        choice = choose(plugin_site.controls(allow_fallback=True))
        assert choice.entry.name == "cpux"
        assert "npu (sagellm-npu 1.0) was passed over: it is broken." in choice.why

    def test_not_when_the_hardware_may_be_absent(
        self, plugin_site: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        plugin_site.add("npu", detect="raise RuntimeError('no luck')")
        plugin_site.add("cpux", device_class="CPU")
        with caplog.at_level(logging.WARNING, "sagellm"):
            choice = choose(plugin_site.controls())
        assert choice.entry.name == "cpux"
        assert "no luck" in choice.warnings[0]
        assert "no luck" in caplog.text

    def test_not_when_it_could_not_have_come_first(self, plugin_site: Any) -> None:
        plugin_site.add("npu")
        plugin_site.add("cpux", device_class="CPU", devices=UNUSABLE)
        plugin_site.add("sim", device_class="SIMULATED", devices=UNUSABLE)
        assert choose(plugin_site.controls()).entry.name == "npu"

    def test_not_when_another_of_its_devices_works(self, plugin_site: Any) -> None:
        plugin_site.add("npu", device_class="CPU", devices=f"{TWO} + {UNUSABLE}")
        assert choose(plugin_site.controls()).entry.name == "npu"


class TestByName:
    def test_it_wins_and_no_other_is_started(self, plugin_site: Any) -> None:
        witness = plugin_site.path / "witness"
        plugin_site.add("npu", head=f"open({str(witness)!r}, 'w')")
        plugin_site.add("cpux", device_class="CPU")
        choice = choose(plugin_site.controls("cpux"))
        assert choice.entry.name == "cpux"
        assert choice.why == "cpux on dev:0 was asked for by name."
        assert not witness.exists()

    def test_a_simulation_runs_any_model(self, plugin_site: Any) -> None:
        plugin_site.add("sim", device_class="SIMULATED", capabilities="frozenset({'any_model'})")
        choice = choose(plugin_site.controls("sim"), "nowhere at all")
        assert choice.model == ModelDescription(
            reference="nowhere at all", format=ModelFormat.UNRESOLVED
        )

    @pytest.mark.parametrize(
        ("reference", "error"), [("broken", ModelFormatError), ("nowhere", ModelNotFoundError)]
    )
    def test_others_need_the_model(
        self, plugin_site: Any, reference: str, error: type[SageLLMError]
    ) -> None:
        plugin_site.add("npu")
        with pytest.raises(error):
            choose(plugin_site.controls("npu"), reference)

    def test_a_model_on_the_hub_is_fetched(self, plugin_site: Any) -> None:
        plugin_site.add("npu")
        assert choose(plugin_site.controls("npu"), "hub").model.path == Path("/hub.gguf")

    def test_an_unknown_name(self, plugin_site: Any) -> None:
        plugin_site.add("ascend")
        with pytest.raises(UnknownProviderError) as caught:
            choose(plugin_site.controls("asend"))
        assert caught.value.hint == "Did you mean 'ascend'?"
        assert "ascend" in caught.value.message
        with pytest.raises(UnknownProviderError) as caught:
            choose(plugin_site.controls("zzzzzz"))
        assert "pip install sagellm-zzzzzz" in caught.value.hint

    def test_absent_hardware_gives_the_plugins_own_reason(self, plugin_site: Any) -> None:
        plugin_site.add("npu", devices=ABSENT)
        with pytest.raises(DeviceUnavailableError) as caught:
            choose(plugin_site.controls("npu"))
        assert "no chip on the bus" in caught.value.message
        assert caught.value.hint == "Buy one."

    def test_an_index_without_a_device(self, plugin_site: Any) -> None:
        plugin_site.add("npu", devices=TWO)
        with pytest.raises(DeviceUnavailableError, match="no device with index 5") as caught:
            choose(plugin_site.controls("npu"), device_index=5)
        assert caught.value.hint == "Its devices are npu:4, npu:7."

    def test_an_index_by_position_where_ids_have_no_numbers(self, plugin_site: Any) -> None:
        plugin_site.add("x", devices="[DeviceInfo(id=i, state='usable') for i in ('p', 'q')]")
        assert choose(plugin_site.controls("x"), device_index=1).device.id == "q"

    @pytest.mark.parametrize(
        ("verdict", "error"),
        [
            ("LoadAnswer(verdict='no', reason='no mamba')", UnsupportedModelError),
            ("LoadAnswer(verdict='no', reason='big', bytes_needed=101)", InsufficientMemoryError),
        ],
    )
    def test_a_model_it_cannot_load(
        self, plugin_site: Any, verdict: str, error: type[SageLLMError]
    ) -> None:
        plugin_site.add("npu", verdict=verdict)
        with pytest.raises(error, match=r"no mamba|big") as caught:
            choose(plugin_site.controls("npu"))
        assert caught.value.hint

    @pytest.mark.parametrize("backend", ["npu", "auto"])
    def test_the_plugins_own_advice_about_a_model(self, plugin_site: Any, backend: str) -> None:
        verdict = "LoadAnswer(verdict='no', reason='no mamba', hint='Use a llama.')"
        plugin_site.add("npu", verdict=verdict)
        with pytest.raises(SageLLMError, match="no mamba") as caught:
            choose(plugin_site.controls(backend))
        assert "Use a llama." in caught.value.hint

    def test_a_broken_plugin_keeps_its_traceback(self, plugin_site: Any) -> None:
        plugin_site.add("npu", head="def f(): raise OSError('libnpu.so.1 is missing')\nf()")
        with pytest.raises(BrokenProviderError, match=r"libnpu\.so\.1") as caught:
            choose(plugin_site.controls("npu"))
        assert "in f" in str(caught.value.__cause__)

    def test_a_version_gate(self, plugin_site: Any) -> None:
        plugin_site.add("npu", requires=["sagellm-core>=9"])
        with pytest.raises(IncompatibleProviderError, match="sagellm-core >=9"):
            choose(plugin_site.controls("npu"))

    def test_a_newer_contract(self, plugin_site: Any) -> None:
        plugin_site.add(
            "npu",
            info="return PluginInfo(name='npu', vendor='', device_class='cpu', contract='1.9')",
        )
        with pytest.raises(IncompatibleProviderError, match=r"needs contract 1\.9"):
            choose(plugin_site.controls("npu"))

    def test_two_dists_with_the_name(self, plugin_site: Any) -> None:
        plugin_site.add("npu", dist="one")
        plugin_site.add("npu", dist="two")
        with pytest.raises(DuplicateProviderError, match=r"one 1\.0 and by two 1\.0"):
            choose(plugin_site.controls("npu"))

    def test_a_block_beats_the_name(self, plugin_site: Any) -> None:
        plugin_site.add("npu")
        controls = plugin_site.controls("npu")._replace(block=("npu",))
        with pytest.raises(ConfigurationError, match="disabled by SAGELLM_DISABLE_PLUGINS"):
            choose(controls)


def test_six_plugins_five_of_them_bad(plugin_site: Any, process_mark: Any) -> None:
    plugin_site.add(
        "garbage",
        head="""
            for fd in range(3, 1024):
                try:
                    os.write(fd, b"garbage\\n")
                except OSError:
                    pass
        """,
    )
    plugin_site.add("good")
    plugin_site.add("hangs", detect="os.fork()\nwhile True: time.sleep(1)")
    plugin_site.add("leaves", head="raise SystemExit(0)")
    plugin_site.add(
        "newer",
        info="return PluginInfo(name='newer', vendor='Fake',"
        " device_class='accelerator', contract='1.7')",
    )
    plugin_site.add("segfault", detect="ctypes.string_at(0)")
    began = time.monotonic()
    choice = choose(plugin_site.controls())
    assert time.monotonic() - began < 6
    assert choice.entry.name == "good"
    rejected = {each.entry.name: each.rejection for each in choice.others if each.rejection}
    assert {
        name: rejected[name].code for name in sorted(rejected) if name in plugin_site.names
    } == {
        "garbage": "protocol",
        "hangs": "hang",
        "leaves": "exit",
        "newer": "contract_minor",
        "segfault": "crash",
    }
    assert len(choice.warnings) == 5
    assert process_mark.gone()
