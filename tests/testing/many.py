"""Runs the suite over many plugins in one process; a script, with its request in a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(request: dict[str, Any]) -> None:
    sys.path[:] = request["path"]
    import pytest

    from sagellm_core.testing.groups import VERDICTS
    from sagellm_core.testing.module_state import all_states, group_of
    from sagellm_core.testing.result import Outcome

    class Many:
        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            kept = []
            for item in items:
                plugin = item.module.DECLARATION.plugin
                classes = request["classes"][plugin]
                wanted = not classes or item.cls.__name__ in classes
                if group_of(item) == VERDICTS or (
                    wanted and group_of(item) in request["groups"][plugin]
                ):
                    kept.append(item)
            items[:] = kept

        def pytest_sessionfinish(self, session: Any) -> None:
            answer = {
                state.declaration.plugin: {
                    each.id.partition("::")[2]: each.reason
                    for each in state.results.values()
                    if each.outcome is Outcome.FAILED
                }
                for state in all_states(session.config)
            }
            Path(request["answer"]).write_text(json.dumps(answer))

    options = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:randomly"]
    pytest.main([*options, "-c", request["settings"], *request["files"]], plugins=[Many()])


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
