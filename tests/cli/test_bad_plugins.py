"""Plugins that are wrong in every way: one readable line each, with its cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

#: Name to how it is installed, and what its one line says.
LISTED: dict[str, tuple[dict[str, Any], str]] = {
    "excludes": (
        {"requires": ["sagellm-core>=0.5,<0.6"]},
        "excludes (sagellm-excludes 1.0) needs sagellm-core >=0.5,<0.6, and 0.1.0 is installed."
        ' Run: pip install "sagellm-core>=0.5,<0.6"',
    ),
    "nextgroup": (
        {"group": "sagellm.plugins.v2"},
        "nextgroup (sagellm-nextgroup 1.0) is made for contract 2, and sagellm-core 0.1.0 runs"
        " contract 1. Run: pip install -U sagellm-core",
    ),
    "auto": (
        {},
        "sagellm-auto 1.0: the name 'auto' is reserved. Report it to the maker of sagellm-auto.",
    ),
    "NPU": (
        {},
        "sagellm-NPU 1.0: the name 'NPU' is not of the form [a-z][a-z0-9_-]*. Report it to the"
        " maker of sagellm-NPU.",
    ),
    "cpu": (
        {"dist": "another-cpu"},
        "The plugin name 'cpu' is registered by another-cpu 1.0 and by sagellm-cpu 0.1.0. Keep one"
        " of them: pip uninstall another-cpu or pip uninstall sagellm-cpu",
    ),
}
DOCTOR: dict[str, tuple[dict[str, Any], str, str]] = {
    "misspelt": (
        {"tail": "@hookimpl\ndef sagellm_detect_device(env): pass"},
        "implements sagellm_detect_device, which is not a hook of the contract.",
        "Did you mean sagellm_detect_devices?",
    ),
    "missing": (
        {"tail": "del sagellm_load_model"},
        "lacks the required hook sagellm_load_model.",
        "Implement it, or upgrade the plugin.",
    ),
    "unmarked": (
        {"tail": "def sagellm_load_model(model): pass"},
        "lacks the required hook sagellm_load_model.",
        "Its function sagellm_load_model is not marked with @hookimpl.",
    ),
    "renamed": (
        {"tail": "@hookimpl\ndef sagellm_diagnose(card): return []"},
        "implements sagellm_diagnose with the argument 'card', which the contract does not have: it"
        " has device.",
        "A hook may leave arguments out, but not add or rename any.",
    ),
    "wrong_info": (
        {"info": "return 'me'"},
        "sagellm_plugin_info returned a str, not PluginInfo.",
        "pip install -U sagellm-wrong_info",
    ),
    "wrong_devices": (
        {"detect": "return {'npu': 1}"},
        "sagellm_detect_devices returned a dict, not a list of DeviceInfo.",
        "",
    ),
    "wrong_state": (
        {"devices": "[DeviceInfo(id='a', state='broken')]"},
        "DeviceInfo.state is 'broken', not one of usable, present_unusable, absent.",
        "",
    ),
    "wrong_answer": (
        {"tail": "@hookimpl\ndef sagellm_can_load(model, device): return True"},
        "sagellm_can_load returned a bool, not LoadAnswer.",
        "",
    ),
    "wrong_verdict": (
        {
            "tail": "@hookimpl\ndef sagellm_can_load(model, device):"
            " return LoadAnswer(verdict='maybe')"
        },
        "LoadAnswer.verdict is 'maybe', not one of yes, no, unknown.",
        "",
    ),
    "wrong_findings": (
        {"tail": "@hookimpl\ndef sagellm_diagnose(device): return 'fine'"},
        "sagellm_diagnose returned a str, not a list of Finding.",
        "",
    ),
    "only_says_embed": (
        {"capabilities": "frozenset({'generate', Capability.EMBED})"},
        "declares the capability 'embed' and does not implement sagellm_open_embedder.",
        "Implement it, or declare what is there; or upgrade the plugin.",
    ),
    "only_says_engine": (
        {"capabilities": "frozenset({Capability.ENGINE})"},
        "declares the capability 'engine' and does not implement sagellm_open_engine.",
        "",
    ),
    "only_embeds": (
        {
            "tail": "del sagellm_open_runner\n@hookimpl\ndef sagellm_open_embedder(model): pass",
            "capabilities": "frozenset({'generate'})",
        },
        "declares the capability 'generate' and does not implement sagellm_open_runner or"
        " sagellm_open_engine.",
        "",
    ),
    "says_nothing": (
        {"tail": "del sagellm_open_runner\n@hookimpl\ndef sagellm_open_embedder(model): pass"},
        "declares no capability, and so is taken to generate, and does not implement",
        "",
    ),
    "future": (
        {
            "info": "return PluginInfo(name='future', vendor='F', device_class='cpu',"
            " contract='1.7')"
        },
        "needs contract 1.7, and sagellm-core 0.1.0 has 1.0.",
        "Run: pip install -U sagellm-core",
    ),
    "next_major": (
        {
            "info": "return PluginInfo(name='next_major', vendor='F', device_class='cpu',"
            " contract='2.0')"
        },
        "needs contract 2.0, and sagellm-core 0.1.0 has 1.0.",
        "Run: pip install -U sagellm-core",
    ),
    "raises": (
        {"detect": "return open(root / 'no' / 'such')"},
        "raised FileNotFoundError in sagellm_detect_devices: [Errno 2] No such file or directory:"
        " '/no/such'.",
        "SAGELLM_DISABLE_PLUGINS=raises",
    ),
    "imports": (
        {"head": "import nothing_there"},
        "raised ModuleNotFoundError while it was imported: No module named 'nothing_there'.",
        "Install what it needs: the module 'nothing_there' is missing.",
    ),
}


def test_what_metadata_tells_is_one_line_of_list(
    sagellm: Callable[..., Any], plugin_site: Any
) -> None:
    for name, (how, _) in LISTED.items():
        plugin_site.add(name, **how)
    printed = sagellm("plugins", "list", path=plugin_site).stdout
    for name, (_, sentence) in LISTED.items():
        if name == "cpu" and "sagellm-cpu" not in printed:
            continue  # it is not installed here
        assert [line for line in printed.splitlines() if line == sentence] == [sentence], printed


@pytest.fixture
def doctor(sagellm: Callable[..., Any], plugin_site: Any) -> Any:
    for name, (how, _, _) in DOCTOR.items():
        plugin_site.add(name, **how)
    done = sagellm("doctor", "--json", path=plugin_site, env=only(DOCTOR))
    assert done.returncode == 1
    return json.loads(done.stdout)["findings"]


def only(names: Any) -> dict[str, str]:
    return {"SAGELLM_PLUGINS": ",".join(names)}


def test_what_a_probe_tells_is_one_line_of_doctor(doctor: Any) -> None:
    for name, (_, sentence, hint) in DOCTOR.items():
        (finding,) = [each for each in doctor if each["about"] == name]
        assert finding["severity"] == "error"
        assert finding["message"].startswith(f"{name} (sagellm-{name} 1.0) ")
        assert sentence in finding["message"]
        assert hint in finding["hint"]
        assert "\n" not in finding["message"]
    # The root cause is kept: where it was raised, in the plugin's own words.
    (raised,) = [each for each in doctor if each["about"] == "raises"]
    assert "return open(root / 'no' / 'such')" in raised["detail"]


def test_the_cause_is_shown_where_it_is_asked_for(
    sagellm: Callable[..., Any], plugin_site: Any
) -> None:
    plugin_site.add("raises", **DOCTOR["raises"][0])
    plain = sagellm("doctor", path=plugin_site, env=only(["raises"])).stdout
    assert "Traceback" not in plain
    told = sagellm("doctor", "--debug", path=plugin_site, env=only(["raises"])).stdout
    assert told.startswith(plain)
    assert "return open(root / 'no' / 'such')" in told


def test_one_name_twice_is_one_line(sagellm: Callable[..., Any], plugin_site: Any) -> None:
    for dist in ("one", "other"):
        plugin_site.add("npu", dist=dist)
    words = "The plugin name 'npu' is registered by one 1.0 and by other 1.0."
    for command in ("list", "doctor"):
        words_of = ("plugins", "list") if command == "list" else ("doctor",)
        printed = sagellm(*words_of, path=plugin_site, env=only(["npu"])).stdout
        assert printed.count(words) == 1, printed


def test_two_entry_points_of_one_module(sagellm: Callable[..., Any], plugin_site: Any) -> None:
    module = plugin_site.add("npu")
    plugin_site.dist("more", f"[sagellm.plugins.v1]\nnpu-more = {module}\n")
    done = sagellm("doctor", "--json", path=plugin_site, env=only(["npu", "npu-more"]))
    (finding,) = [
        each for each in json.loads(done.stdout)["findings"] if each["about"] == "npu-more"
    ]
    assert "PluginInfo.name is 'npu', and its entry point is named 'npu-more'" in finding["message"]


def test_asked_for_by_name_it_is_the_same_sentence(
    sagellm: Callable[..., Any], plugin_site: Any
) -> None:
    plugin_site.add("only_says_embed", **DOCTOR["only_says_embed"][0])
    done = sagellm(
        "run",
        "-p",
        "Hi",
        "-m",
        "x.gguf",
        "--backend",
        "only_says_embed",
        "--json",
        path=plugin_site,
    )
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "broken_provider"
    assert DOCTOR["only_says_embed"][1] in error["message"]
