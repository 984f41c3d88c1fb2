"""Plugins whose import, registration or metadata is wrong, and which tests find it."""

from __future__ import annotations

from typing import Any

import pytest

GROUPS = ("static", "skew")

FLAWS: dict[str, dict[str, Any]] = {
    "fine": {},
    "imports_torch": {
        "body": "import torch",
        "modules": {"torch": "tensor = object()"},
        "caught": {"test_import_brings_nothing_heavy", "test_import_changes_no[modules]"},
    },
    "imports_a_library": {
        "body": "import a_library",
        "modules": {"a_library": ""},
        "caught": {"test_import_changes_no[modules]"},
    },
    "imports_core_itself": {
        "body": "import sagellm_core.engine.blocks",
        "caught": {"test_import_changes_no[modules]"},
    },
    "imports_slowly": {
        "body": "import time; time.sleep(0.08)",
        "caught": {"test_import_is_quick"},
    },
    "changes_the_environment": {
        "body": "import os; os.environ['OMP_NUM_THREADS'] = '3'",
        "caught": {"test_import_changes_no[environment]"},
    },
    "starts_a_thread": {
        "body": """
            import threading
            threading.Thread(target=threading.Event().wait, daemon=True, name="watcher").start()
        """,
        "caught": {"test_import_changes_no[threads]"},
    },
    "handles_a_signal": {
        "body": "import signal; signal.signal(signal.SIGTERM, lambda *_: None)",
        "caught": {"test_import_changes_no[signals]"},
    },
    "changes_the_directory": {
        "body": "import os; os.chdir('/')",
        "caught": {"test_import_changes_no[directory]"},
    },
    "configures_logging": {
        "body": "import logging; logging.getLogger().setLevel('DEBUG')",
        "caught": {"test_import_changes_no[logging]"},
    },
    "adds_a_handler": {
        "body": "import logging; logging.getLogger('tiny').addHandler(logging.StreamHandler())",
        "caught": {"test_import_changes_no[logging]"},
    },
    "logs_like_a_library": {
        # As the logging documentation asks of libraries: no finding.
        "body": "import logging; logging.getLogger('tiny').addHandler(logging.NullHandler())",
    },
    "prints": {
        "body": "print('tiny 1.0 is here')",
        "caught": {"test_import_changes_no[output]"},
    },
    "patches_python": {
        "body": "import sys; sys.excepthook = lambda *_: None",
        "caught": {"test_import_changes_no[interpreter]"},
    },
    "opens_a_file": {
        "body": "import os; KEPT = os.open('/dev/null', os.O_RDONLY)",
        "caught": {"test_import_changes_no[descriptors]"},
    },
    "misspells_a_hook": {
        "body": """
            @hookimpl
            def sagellm_diagnoze(device):
                return []
        """,
        "caught": {"test_hooks_are_the_contracts"},
    },
    "renames_an_argument": {
        "body": """
            @hookimpl
            def sagellm_diagnose(card):
                return []
        """,
        "caught": {"test_hooks_are_the_contracts"},
    },
    "lacks_a_hook": {
        "body": "del sagellm_can_load",
        "caught": {"test_hooks_are_the_contracts"},
    },
    "forgets_a_mark": {
        "body": """
            def sagellm_diagnose(device):
                return []
        """,
        "caught": {"test_hooks_are_marked"},
    },
    "nobodys": {
        "info": "vendor=' '",
        "caught": {"test_info_fits_the_entry_point"},
    },
    "says_less_than_its_declaration": {
        "info": "capabilities=frozenset({'generate', 'embed'})",
        "caught": {"test_capabilities_are_the_declared_ones"},
    },
    "comes_from_the_future": {
        "info": "contract='1.9'",
        "caught": {"test_the_contract_is_not_newer"},
    },
    "takes_any_core": {
        "dist": {"requires": ["sagellm-core"]},
        "caught": {"test_core_is_required_within_bounds"},
    },
    "takes_every_later_core": {
        "dist": {"requires": ["sagellm-core>=0.1"]},
        "caught": {"test_core_is_required_within_bounds"},
    },
    "requires_no_core": {
        "dist": {"requires": []},
        "caught": {"test_core_is_required_within_bounds"},
    },
}


@pytest.mark.parametrize("name", FLAWS)
def test_the_flaw_is_caught_by(findings: Any, name: str) -> None:
    assert set(findings[name]) == FLAWS[name].get("caught", set()), findings[name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("imports_torch", "Importing the plugin imports torch. Import it inside the S2 hooks."),
        ("changes_the_environment", "the environment: OMP_NUM_THREADS is new"),
        ("misspells_a_hook", "sagellm_diagnoze, which is not a hook of the contract. Did you mean"),
        ("lacks_a_hook", "lacks the required hook sagellm_can_load"),
        ("forgets_a_mark", "are not marked with @hookimpl: sagellm_diagnose."),
        ("comes_from_the_future", "PluginInfo.contract is '1.9'; this core has 1.0."),
        ("takes_every_later_core", "no upper bound. Write, for example, sagellm-core>=0.1,<NEXT."),
        (
            "says_less_than_its_declaration",
            "The declaration has embed, generate, logprobs, and sagellm_plugin_info says embed,"
            " generate.",
        ),
    ],
)
def test_the_sentence_says_what_and_what_to_do(findings: Any, name: str, sentence: str) -> None:
    assert sentence in " ".join(findings[name].values())
