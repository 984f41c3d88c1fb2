"""Several downloads at once."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ModelNotFoundError as ContractModelNotFoundError
from sagellm_core.models import (
    ModelRegistryError,
    delete_model,
    download_model,
    list_models,
)

pytest.importorskip("huggingface_hub")


_DOWNLOAD = """\
import sys
from sagellm_core.models import download_model
stages = set()
info = download_model("org/big", progress=lambda stage, *_: stages.add(stage.split()[0]))
print(info.path, *sorted(stages))
"""


def test_eight_processes_fetch_one_model_once(hub: Any, big: bytes, root: Path, child: Any) -> None:
    hub.delay = 0.03
    children = [child(_DOWNLOAD) for _ in range(8)]
    answers = [process.communicate(timeout=120) for process in children]
    assert [err for _, err in answers] == [""] * 8
    assert {out.split()[0] for out, _ in answers} == {str(root / "org__big")}
    assert (hub.fetched("model.safetensors"), hub.fetched("config.json")) == (1, 1)
    stages = [out.split()[1:] for out, _ in answers]
    assert stages.count(["downloading"]) == 1
    assert ["waiting"] in stages


def test_a_killed_download_lets_those_who_wait_go_on(
    hub: Any, big: bytes, root: Path, child: Any
) -> None:
    hub.delay = 0.2
    first = child(_DOWNLOAD)
    part = root / ".downloads/org__big/model.safetensors.part"
    end = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
        time.sleep(0.01)
    second = child(_DOWNLOAD)
    time.sleep(0.5)
    hub.delay = 0.0
    first.kill()
    first.communicate()
    out, err = second.communicate(timeout=60)
    assert (out.split()[0], err) == (str(root / "org__big"), "")
    assert len(hub.ranges) == 1


def test_threads_wait_for_each_other_too(hub: Any, big: bytes) -> None:
    hub.delay = 0.02
    found: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(download_model("org/big", progress=False).path)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert hub.fetched("model.safetensors") == 1


def test_the_registry_can_be_used_while_a_download_goes_on(
    hub: Any, big: bytes, tiny: dict[str, bytes], child: Any
) -> None:
    hub.gates["org/big"] = threading.Event()
    process = child(_DOWNLOAD)
    while not hub.fetched("model.safetensors"):
        time.sleep(0.01)
    try:
        download_model("org/tiny", progress=False)
        assert delete_model("org/tiny")
        assert not delete_model("org/big")  # nor is the download disturbed
    finally:
        hub.gates["org/big"].set()
    assert process.communicate(timeout=60)[1] == ""
    assert [model.model_id for model in list_models()] == ["org/big"]


def test_without_progress_nothing_is_printed(hub: Any, tiny: dict[str, bytes], child: Any) -> None:
    code = (
        "from sagellm_core.models import download_model\n"
        "download_model('org/tiny', progress=False)\n"
        "download_model('org/tiny', force=True)"  # a bar is for terminals only
    )
    out, err = child(code).communicate(timeout=60)
    assert (out, err) == ("", "")


def test_errors_are_what_old_and_new_callers_catch(tiny: dict[str, bytes]) -> None:
    for caught in (RuntimeError, ModelRegistryError, ContractModelNotFoundError):
        with pytest.raises(caught):
            download_model("org/none", progress=False)
