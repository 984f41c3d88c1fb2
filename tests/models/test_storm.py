"""Processes that download, list and delete at the same time, and a registry that stays whole.

Six seconds here; ``SAGELLM_STORM_SECONDS=60 pytest -s tests/models/test_storm.py`` for longer, and
to see the numbers.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.models import delete_model, list_models, model_root

pytest.importorskip("huggingface_hub")

_PROCESSES = 8
_IDS = ("org/a", "org/a@v1", "org/a@v2", "org/b", "org/b@v1", "org/quants:x.gguf")

_CHILD = """\
import collections, json, random, sys, time
from pathlib import Path
from sagellm_core.models import (
    delete_model, download_model, ensure_model_available, get_model_path, list_models, model_root,
    touch_model,
)
from sagellm_core.models.registry_file import RegistryFile
from sagellm_core.models.registry_root import written_root

number, seconds, ids = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
chance = random.Random(number)
root = model_root()
counts = collections.Counter()
errors = []

def check():
    # Anyone may read at any time: the file is whole.
    json.loads((root / "metadata.json").read_bytes())
    # With the lock held, what is registered is what is on disk.
    with RegistryFile(written_root(None)).change() as entries:
        paths = {Path(entry["path"]) for entry in entries.values()}
        places = {place for place in root.iterdir() if place.is_dir() and place.name[0] != "."}
    if paths != places:
        raise AssertionError(f"registered {paths}, on disk {places}")

def download(id): download_model(id, tags=[f"p{number}"], progress=False)
def force(id): download_model(id, force=True, progress=False)
def delete(id): delete_model(id)
def list_(id): [model.state for model in list_models()]
def path(id): get_model_path(id)
def touch(id): touch_model(id)
def ensure(id): ensure_model_available(id)

operations = [download] * 4 + [delete] * 4 + [list_] * 3 + [path, touch, ensure, force]
download(ids[number % len(ids)])
end = time.monotonic() + seconds
while time.monotonic() < end:
    operation, id = chance.choice(operations), chance.choice(ids)
    try:
        operation(id)
        counts[operation.__name__] += 1
        check()
        counts["check"] += 1
    except Exception as error:
        errors.append(f"{operation.__name__} {id}: {type(error).__name__}: {error}")
print(json.dumps({"counts": counts, "errors": errors}))
"""


def test_a_storm_leaves_the_registry_whole(
    hub: Any, hf_dir: Path, gguf_raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = float(os.environ.get("SAGELLM_STORM_SECONDS", "6"))
    files = {file.name: file.read_bytes() for file in hf_dir.iterdir()}
    hub.repositories.update({"org/a": files, "org/b": files, "org/quants": {"x.gguf": gguf_raw}})
    root = model_root()
    env = {**os.environ, "HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(number), str(seconds), *_IDS],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(_PROCESSES)
    ]
    answers = [child.communicate(timeout=seconds + 120) for child in children]
    assert [child.returncode for child in children] == [0] * _PROCESSES, answers
    told = [json.loads(out) for out, _ in answers]
    counts: collections.Counter[str] = collections.Counter()
    for each in told:
        counts.update(each["counts"])
    fetched = sum("/resolve/" in path for path in hub.asked)
    print(f"\n{seconds:g} s, {_PROCESSES} processes: {dict(counts)}, {fetched} files fetched")

    assert [error for each in told for error in each["errors"]] == []
    assert min(counts[name] for name in ("download", "delete", "list_", "force", "check")) > 0
    assert not [err for _, err in answers if "corrupt" in err]
    models = list_models()
    assert {model.model_id for model in models} <= set(_IDS)
    assert {model.state for model in models} <= {"ready"}
    directories = {place for place in root.iterdir() if place.is_dir() and place.name[0] != "."}
    assert {model.path for model in models} == directories
    for model in models:
        assert delete_model(model.model_id)
    left = {place.name for place in root.iterdir()}
    assert left == {"metadata.json", "metadata.json.lock", ".downloads"}
    assert all(place.suffix == ".lock" for place in (root / ".downloads").iterdir())
