"""Plugins that find devices wrongly in one way, and which tests find it."""

from __future__ import annotations

from typing import Any

import pytest

GROUPS = ("detection",)
BOARD = {
    "visibility": "('TINY_VISIBLE_DEVICES',)",
    "trees": "{'two boards': __import__('tiny_provider.plugin').plugin.write_boards}",
    "device_required": "False",
}
ACCELERATOR = "DeviceClass.ACCELERATOR"
HIDES = "test_an_empty_variable_hides_every_device[TINY_VISIBLE_DEVICES]"
READS_ENV = "test_variables_are_read_from_env[TINY_VISIBLE_DEVICES]"


def board(body: str) -> dict[str, Any]:
    """An accelerator whose detection has this body."""
    return {"body": detection(body), "info": ACCELERATOR, "declared": BOARD}


def detection(body: str) -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"@hookimpl\ndef sagellm_detect_devices(env, root):\n    import os, time\n{lines}\n"


USABLE = "[DeviceInfo(id='tiny', state=DeviceState.USABLE)]"

FLAWS: dict[str, dict[str, Any]] = {
    "fine": {},
    "fine_board": board("return boards(env, root)"),
    "counts_its_calls": {
        "body": detection(
            "global CALLS\nCALLS += 1\n"
            "return [DeviceInfo(id=f'tiny:{CALLS}', state=DeviceState.USABLE)]"
        )
        + "CALLS = 0\n",
        "caught": {"test_ten_times_the_same", "test_a_fork_finds_the_same"},
    },
    "detects_in_one_process_only": {
        "body": detection(f"assert os.getpid() == HOME, 'forked'\nreturn {USABLE}")
        + "import os\nHOME = os.getpid()\n",
        "caught": {"test_a_fork_finds_the_same"},
    },
    "dies_in_a_fork": {
        "body": detection(f"if os.getpid() != HOME: os.abort()\nreturn {USABLE}")
        + "import os\nHOME = os.getpid()\n",
        "caught": {"test_a_fork_finds_the_same"},
    },
    "ignores_the_variable": {
        **board("return boards({}, root)"),
        "caught": {HIDES},
    },
    "takes_an_empty_variable_for_none": {
        **board("return boards({k: v for k, v in env.items() if v}, root)"),
        "caught": {HIDES},
    },
    "reads_its_own_environment": {
        **board("return boards(os.environ, root)"),
        "caught": {HIDES, READS_ENV},
    },
    "ignores_the_root": {
        **board(
            "if os.path.exists('/dev/full'): return [DeviceInfo(id='0', state=DeviceState.USABLE)]"
            "\nreturn boards(env, root)"
        ),
        "caught": {
            "test_an_empty_tree_has_no_accelerator",
            "test_only_the_root_is_read",
            HIDES,
        },
    },
    "looks_at_this_machine_too": {
        "body": detection(f"open('/proc/meminfo').close()\nreturn {USABLE}"),
        "caught": {"test_only_the_root_is_read"},
    },
    "asks_for_a_file_of_this_machine": {
        "body": detection(f"os.path.exists('/sys/class/tiny')\nreturn {USABLE}"),
        "caught": {"test_only_the_root_is_read"},
    },
    "starts_a_program": {
        "body": detection(f"os.system('true')\nreturn {USABLE}"),
        "caught": {"test_only_the_root_is_read"},
    },
    "returns_a_dict": {
        "body": detection("return {'tiny': 'usable'}"),
        "caught": {"test_core_can_probe_it"},
    },
    "returns_names": {
        "body": detection("return ['tiny']"),
        "caught": {"test_core_can_probe_it"},
    },
    "returns_nothing": {
        "body": detection("return []"),
        "caught": {"test_core_can_probe_it"},
    },
    "gives_no_reason": {
        "body": detection("return [DeviceInfo(id='tiny', state=DeviceState.ABSENT)]"),
        "caught": {"test_core_can_probe_it"},
    },
    "raises": {
        "body": detection("raise OSError('the driver said no')"),
        "caught": {"test_core_can_probe_it"},
    },
    "dies": {"body": detection("os._exit(7)"), "caught": {"test_core_can_probe_it"}},
    "is_called_otherwise": {
        "body": "@hookimpl\ndef sagellm_plugin_info():\n    return info('other')\n",
        "caught": {"test_core_can_probe_it"},
    },
    "has_no_device": {
        "body": detection(
            "return [DeviceInfo(id='none', state=DeviceState.ABSENT, reason='It is gone.')]"
        ),
        "caught": {"test_a_device_is_usable"},
    },
    "finds_nothing_in_its_tree": {
        **board("return boards(env, root / 'elsewhere')"),
        "caught": {"test_made_trees_have_devices"},
    },
    "diagnoses_with_words": {
        "body": "@hookimpl\ndef sagellm_diagnose(device):\n    return ['fine']\n",
        "caught": {"test_findings_are_findings"},
    },
    "probes_with_torch": {
        "body": detection(f"import torch\nreturn {USABLE}"),
        "modules": {"torch": "tensor = object()"},
        "caught": {"test_probes_import_nothing_heavy"},
    },
}


@pytest.mark.parametrize("name", FLAWS)
def test_the_flaw_is_caught_by(findings: Any, name: str) -> None:
    assert set(findings[name]) == FLAWS[name].get("caught", set()), findings[name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "counts_its_calls",
            "Detection 2 of 10 differs from the first: tiny:2 in place of tiny:1.",
        ),
        ("dies_in_a_fork", "it was killed by signal 6"),
        ("ignores_the_variable", "With TINY_VISIBLE_DEVICES set to nothing the plugin still finds"),
        ("reads_its_own_environment", "counts where only os.environ has it"),
        ("looks_at_this_machine_too", "looks at /proc/meminfo"),
        ("asks_for_a_file_of_this_machine", "looks at /sys/class/tiny"),
        ("raises", "raised OSError in sagellm_detect_devices: the driver said no."),
        ("dies", "left with code 7 in sagellm_detect_devices"),
        ("returns_a_dict", "returned a dict, not a list of DeviceInfo"),
        ("gives_no_reason", "DeviceInfo.reason is empty"),
        ("is_called_otherwise", "PluginInfo.name is 'other', and its entry point is named"),
        ("has_no_device", "No device is usable here: none: It is gone."),
    ],
)
def test_the_sentence_says_what(findings: Any, name: str, sentence: str) -> None:
    assert sentence in " ".join(findings[name].values())
