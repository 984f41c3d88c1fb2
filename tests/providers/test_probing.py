"""The probe: every plugin says its piece, or is reported for what it did instead."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import LoadVerdict, ModelDescription, ModelFormat
from sagellm_core.providers import PluginEntry, ProbeReport, discover, probe

MODEL = ModelDescription(
    reference="m", format=ModelFormat.GGUF, path=Path("/m.gguf"), config={"a": [1, "é"]}
)


def probed(site: Any, **options: Any) -> dict[str, ProbeReport]:
    entries = discover(site.controls(), path=[str(site.path)])
    return {report.entry.name: report for report in probe(entries, MODEL, **options)}


def only(site: Any, **options: Any) -> ProbeReport:
    (report,) = probed(site, **options).values()
    return report


def test_a_good_plugin_says_who_it_is_what_it_has_and_whether_it_can(plugin_site: Any) -> None:
    plugin_site.add(
        "good",
        priority=3,
        can_load="""
            assert model.path.name == "m.gguf" and model.config == {"a": [1, "é"]}
            return LoadAnswer(verdict=LoadVerdict.YES, bytes_needed=7)
        """,
    )
    report = only(plugin_site)
    assert report.rejection is None
    assert report.info is not None
    assert (report.info.name, report.info.priority) == ("good", 3)
    assert [device.id for device in report.devices] == ["dev:0"]
    assert report.answers["dev:0"].verdict is LoadVerdict.YES
    assert report.answers["dev:0"].bytes_needed == 7
    assert report.warnings == ()


def test_detection_gets_the_environment_and_root_that_were_given(
    plugin_site: Any, tmp_path: Path
) -> None:
    plugin_site.add(
        "good",
        devices="[DeviceInfo(id=env['WHO'] + os.environ['WHO'], state=DeviceState.USABLE,"
        " name=(root / 'there').read_text())]",
    )
    (tmp_path / "there").write_text("made")
    report = only(plugin_site, env={"WHO": "me"}, root=tmp_path)
    assert (report.devices[0].id, report.devices[0].name) == ("meme", "made")


def test_can_load_is_asked_for_usable_devices_only(plugin_site: Any) -> None:
    plugin_site.add(
        "good",
        devices="[DeviceInfo(id='a', state=DeviceState.USABLE),"
        " DeviceInfo(id='b', state=DeviceState.PRESENT_UNUSABLE, reason='no driver')]",
    )
    assert set(only(plugin_site).answers) == {"a"}


def test_a_plugin_that_takes_any_model_sees_none_resolved(plugin_site: Any) -> None:
    plugin_site.add(
        "any",
        capabilities="frozenset({Capability.ANY_MODEL})",
        can_load="return LoadAnswer(verdict=LoadVerdict.UNKNOWN, reason=model.format)",
    )
    assert only(plugin_site).answers["dev:0"].reason == "unresolved"


def test_findings_are_asked_for_when_a_diagnosis_is(plugin_site: Any) -> None:
    plugin_site.add(
        "good",
        tail="""
            @hookimpl
            def sagellm_diagnose(device):
                return [Finding(severity=Severity.WARNING, message="old driver on " + device.id)]
        """,
    )
    assert only(plugin_site).findings == {}
    (finding,) = only(plugin_site, diagnose=True).findings["dev:0"]
    assert finding.message == "old driver on dev:0"


HOOK_FAILURES = [
    ("head", "raise RuntimeError('no luck')", "while it was imported"),
    ("info", "raise RuntimeError('no luck')", "in sagellm_plugin_info"),
    ("detect", "raise RuntimeError('no luck')", "in sagellm_detect_devices"),
    ("can_load", "raise RuntimeError('no luck')", "in sagellm_can_load"),
]


@pytest.mark.parametrize(("hook", "body", "where"), HOOK_FAILURES)
def test_an_exception_names_the_hook_and_keeps_the_traceback(
    plugin_site: Any, hook: str, body: str, where: str
) -> None:
    plugin_site.add("bad", **{hook: body})
    rejection = only(plugin_site).rejection
    assert rejection is not None
    assert rejection.code == "raised"
    assert rejection.message == f"bad (sagellm-bad 1.0) raised RuntimeError {where}: no luck."
    assert "no luck" in rejection.detail
    assert "fake_" in rejection.detail
    assert "SAGELLM_DISABLE_PLUGINS=bad" in rejection.hint


HOOKS = ("head", "info", "detect", "can_load")


@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        ("raise SystemExit(3)", "exit", "raised SystemExit(3)"),
        ("os._exit(0)", "exit", "left with code 0"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crash", "was killed by SIGSEGV"),
        ("ctypes.string_at(0)", "crash", "was killed by SIGSEGV"),
    ],
)
def test_leaving_and_crashing_in_any_hook(
    plugin_site: Any, body: str, code: str, sentence: str
) -> None:
    for hook in HOOKS:
        plugin_site.add(hook, **{hook: body})
    for hook, report in probed(plugin_site).items():
        assert report.rejection is not None
        assert report.rejection.code == code
        assert sentence in report.rejection.message
        # What it had said before is kept: that is how a plugin whose hardware is present is
        # told from one that may have none.
        assert bool(report.devices) == (hook == "can_load")
        if code == "crash":
            assert "fake_" in report.rejection.detail


def test_a_hang_in_any_hook_is_ended_and_says_where(plugin_site: Any) -> None:
    for hook in HOOKS:
        plugin_site.add(hook, **{hook: "while True: time.sleep(1)"})
    began = time.monotonic()
    reports = probed(plugin_site, timeout=1.5)
    assert time.monotonic() - began < 5
    for report in reports.values():
        assert report.rejection is not None
        assert report.rejection.code == "hang"
        assert "within 1.5 s" in report.rejection.message
        assert "fake_" in report.rejection.detail


@pytest.mark.parametrize(
    ("replaced", "sentence"),
    [
        ({"info": "return {'name': 'bad'}"}, "sagellm_plugin_info returned a dict"),
        ({"info": "return None"}, "sagellm_plugin_info returned None"),
        ({"info": "return PluginInfo(name='other', vendor='', device_class='cpu')"}, "'other'"),
        ({"info": "return PluginInfo(name='bad', vendor=3, device_class='cpu')"}, "vendor is 3"),
        (
            {"info": "return PluginInfo(name='bad', vendor='', device_class='warp')"},
            "PluginInfo.device_class is 'warp', not one of accelerator, cpu, simulated",
        ),
        ({"priority": "True"}, "PluginInfo.priority is True, not an integer"),
        ({"detect": "return None"}, "sagellm_detect_devices returned None"),
        ({"detect": "return []"}, "empty"),
        ({"detect": "return [1]"}, "a list with a int"),
        ({"detect": "return [DeviceInfo(id='a', state='absent')]"}, "DeviceInfo.reason is empty"),
        ({"detect": "return [DeviceInfo(id='a', state='odd')]"}, "DeviceInfo.state is 'odd'"),
        (
            {"detect": "return [DeviceInfo(id='a', state='usable')] * 2"},
            "DeviceInfo.id 'a' is given to 2 devices",
        ),
        (
            {"detect": "return [DeviceInfo(id='a', state='usable', memory_free=object())]"},
            "DeviceInfo.memory_free is a object, not a number of bytes or None",
        ),
        ({"can_load": "return True"}, "sagellm_can_load returned a bool"),
        ({"can_load": "return LoadAnswer(verdict='no')"}, "LoadAnswer.reason is empty"),
        ({"can_load": "return LoadAnswer(verdict='yes', bytes_needed=-1)"}, "bytes_needed is -1"),
    ],
)
def test_an_answer_of_the_wrong_type_names_the_field(
    plugin_site: Any, replaced: dict[str, Any], sentence: str
) -> None:
    plugin_site.add("bad", **replaced)
    rejection = only(plugin_site).rejection
    assert rejection is not None
    assert rejection.code == "wrong_type"
    assert sentence in rejection.message


@pytest.mark.parametrize(
    ("tail", "code", "sentence"),
    [
        (
            "@hookimpl\ndef sagellm_open_embeder(model, config): pass",
            "misspelt_hook",
            "sagellm_open_embeder",
        ),
        ("del sagellm_can_load", "missing_hook", "sagellm_can_load"),
        ("def sagellm_can_load(model, device): pass", "missing_hook", "sagellm_can_load"),
        ("del sagellm_open_runner", "missing_hook", "at least one of sagellm_open_runner"),
        (
            "@hookimpl\ndef sagellm_can_load(model, device, mood): pass",
            "wrong_type",
            "mood",
        ),
    ],
)
def test_hooks_that_are_not_the_contracts(
    plugin_site: Any, tail: str, code: str, sentence: str
) -> None:
    plugin_site.add("bad", tail=tail)
    rejection = only(plugin_site).rejection
    assert rejection is not None
    assert rejection.code == code
    assert sentence in rejection.message
    if code == "misspelt_hook":
        assert "sagellm_open_embedder" in rejection.hint
    if tail.startswith("def"):
        assert "@hookimpl" in rejection.hint


@pytest.mark.parametrize(
    ("contract", "code"),
    [("1.4", "contract_minor"), ("2.0", "contract_major"), ("one", "wrong_type")],
)
def test_a_newer_contract_is_refused_before_its_hooks_are_held_to_ours(
    plugin_site: Any, contract: str, code: str
) -> None:
    plugin_site.add(
        "new",
        version="1.2",
        info=f"return PluginInfo(name='new', vendor='', device_class='cpu', contract='{contract}')",
        detect="open(os.environ['WITNESS'], 'w')",
        tail="@hookimpl\ndef sagellm_hook_of_tomorrow(model): pass",
    )
    witness = plugin_site.path / "witness"
    rejection = only(plugin_site, env={"WITNESS": str(witness)}).rejection
    assert rejection is not None
    assert rejection.code == code
    assert not witness.exists()
    if code == "contract_minor":
        assert rejection.message == (
            "new (sagellm-new 1.2) needs contract 1.4, and sagellm-core 0.1.0 has 1.0."
        )
        assert rejection.hint == "Run: pip install -U sagellm-core"


def test_what_is_missing_is_named(plugin_site: Any) -> None:
    plugin_site.add("bad", head="import a_library_that_is_not_there")
    plugin_site.dist("sagellm-gone", "[sagellm.plugins.v1]\ngone = not_a_module_at_all\n")
    plugin_site.names.append("gone")
    reports = probed(plugin_site)
    bad, gone = reports["bad"].rejection, reports["gone"].rejection
    assert bad is not None
    assert gone is not None
    assert bad.hint == "Install what it needs: the module 'a_library_that_is_not_there' is missing."
    assert "--force-reinstall sagellm-gone" in gone.hint


def test_garbage_on_stdout_harms_nothing_and_is_kept_bounded(
    plugin_site: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    plugin_site.add(
        "loud",
        detect="""
            print("x" * 5_000_000)
            os.write(2, b"\\xff\\x00 complaint")
            return [DeviceInfo(id="d", state=DeviceState.USABLE)]
        """,
    )
    report = only(plugin_site)
    assert report.rejection is None
    assert "complaint" in report.output
    assert len(report.output) < 20_000
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "junk",
    [
        b"garbage\\n",
        b"\\xff\\xfe\\n",
        b"[]\\n",
        b"{}\\n",
        b'{"kind": "moo"}\\n',
        b'{"kind": "done"}\\n',
        b'{"kind": "answer", "device": 9, "answer": {}}\\n',
        b"[" * 100_000 + b"\\n",
    ],
)
def test_garbage_on_the_reply_is_a_finding(plugin_site: Any, junk: bytes) -> None:
    write = f"os.write(fd, b'{junk.decode('latin-1')}')"
    plugin_site.add(
        "bad",
        head=f"""
            for fd in range(3, 1024):
                try:
                    {write}
                except OSError:
                    pass
        """,
    )
    rejection = only(plugin_site).rejection
    assert rejection is not None
    assert rejection.code == "protocol"


def test_a_flood_on_the_reply_is_a_finding(plugin_site: Any) -> None:
    plugin_site.add(
        "bad",
        head="""
            for fd in range(3, 1024):
                try:
                    while True: os.write(fd, b"x" * 65536)
                except OSError:
                    pass
        """,
    )
    rejection = only(plugin_site).rejection
    assert rejection is not None
    assert rejection.code == "protocol"


def test_closing_the_reply_and_leaving_is_a_finding(plugin_site: Any) -> None:
    plugin_site.add("bad", head="os.closerange(3, 1024)")
    rejection = only(plugin_site).rejection
    assert rejection is not None
    assert rejection.code == "exit"


def test_torch_in_the_probe_is_a_warning(plugin_site: Any) -> None:
    (plugin_site.path / "torch.py").write_text("")
    plugin_site.add("heavy", head="import torch")
    report = only(plugin_site)
    assert report.rejection is None
    (warning,) = report.warnings
    assert "heavy (sagellm-heavy 1.0) imports torch" in warning


def test_rejected_entries_are_reported_and_not_started(plugin_site: Any) -> None:
    plugin_site.add("old", requires=["sagellm-core>=9"], head="open(os.environ['WITNESS'], 'w')")
    witness = plugin_site.path / "witness"
    rejection = only(plugin_site, env={"WITNESS": str(witness)}).rejection
    assert rejection is not None
    assert rejection.code == "core_requirement"
    assert not witness.exists()


def test_reports_come_in_the_order_of_the_entries(plugin_site: Any) -> None:
    for name in ("c", "a", "b"):
        plugin_site.add(name)
    entries = discover(plugin_site.controls(), path=[str(plugin_site.path)])[::-1]
    assert [report.entry.name for report in probe(entries, None)] == ["c", "b", "a"]


def test_an_entry_made_by_hand_can_be_probed(plugin_site: Any) -> None:
    module = plugin_site.add("good")
    entry = PluginEntry("good", module, "sagellm-good", "1.0", "sagellm.plugins.v1")
    (report,) = probe([entry], None)
    assert report.rejection is None
    assert report.answers == {}
