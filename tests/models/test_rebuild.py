"""A registry whose file is corrupt, and what comes back of it."""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagellm_core.models import add_model, get_model_path, list_models, model_root, touch_model
from sagellm_core.models.marker import Marker
from sagellm_core.models.model_name import ModelName, id_of_directory, is_model_id
from sagellm_core.models.rebuild import rebuild


@pytest.fixture
def root(hf_dir: Path) -> Path:
    """A root with whole models, broken ones, and things that are none."""
    root = model_root()
    root.mkdir(parents=True)
    for name in ("org__name", "org__name__v1", "single", "org__broken", "bad name", ".downloads"):
        shutil.copytree(hf_dir, root / name)
    (root / "org__broken/model.safetensors").write_bytes(b"")
    (root / "org__empty").mkdir()
    (root / "org__file").write_text("")
    marked = shutil.copytree(hf_dir, root / "a__b__refs__pr__1")
    Marker(
        model_id="a/b@refs/pr/1", revision="refs/pr/1", commit="c" * 40, tags=("t",), files={}
    ).write(marked)
    return root


_ON_DISK = {"org/name", "org/name@v1", "single", "a/b@refs/pr/1"}


@pytest.mark.parametrize("text", ["{", "", "[]", "\x00" * 100, '{"a": '])
def test_what_lies_on_disk_is_found_again(
    root: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "metadata.json").write_text(text)
    with caplog.at_level(logging.WARNING):
        models = {model.model_id: model for model in list_models()}
    assert set(models) == _ON_DISK
    assert "metadata.json.corrupt-1; 4 models were found again" in caplog.text
    assert (root / "metadata.json.corrupt-1").read_text() == text
    marked = models["a/b@refs/pr/1"]
    assert (marked.revision, marked.commit, marked.tags) == ("refs/pr/1", "c" * 40, ("t",))
    assert models["org/name@v1"].revision == "v1"
    assert all(model.is_complete and model.size_bytes for model in models.values())
    caplog.clear()
    assert {model.model_id for model in list_models()} == _ON_DISK
    assert caplog.text == ""


def test_entries_that_are_still_whole_come_back_as_they_were(
    root: Path, gguf_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_model("elsewhere", gguf_file, tags=["kept"])
    add_model("org/name", root / "org__name", tags=["mine"])
    (before,) = [model for model in list_models() if model.model_id == "elsewhere"]
    text = (root / "metadata.json").read_text()
    (root / "metadata.json").write_text(text[:-20])  # into the last entry
    models = {model.model_id: model for model in list_models()}
    assert models["elsewhere"] == before
    assert set(models) == {*_ON_DISK, "elsewhere"}


def test_a_change_rebuilds_too(root: Path, gguf_file: Path) -> None:
    (root / "metadata.json").write_text("{")
    add_model("new", gguf_file)
    assert {model.model_id for model in list_models()} == {*_ON_DISK, "new"}
    (root / "metadata.json").write_text("{")
    assert touch_model("single")
    assert (root / "metadata.json.corrupt-2").exists()


def test_an_enormous_file_is_not_read(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (root / "metadata.json").open("wb") as file:
        file.truncate(2**40)  # a hole, of which nothing is on disk
    with caplog.at_level(logging.WARNING):
        assert {model.model_id for model in list_models()} == _ON_DISK
    assert "has 1099511627776 bytes, and 67108864 are the most" in caplog.text
    assert (root / "metadata.json.corrupt-1").stat().st_size == 2**40


def test_one_that_cannot_be_set_aside_is_rebuilt_in_memory(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "metadata.json").write_text("{")
    (root / "metadata.json.lock").mkdir()  # as good as read-only, for root too
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert get_model_path("org/name") == root / "org__name"
        assert "is left as it is; 4 models were found on disk" in caplog.text
    assert (root / "metadata.json").read_text() == "{"


def test_a_file_that_was_made_to_be_slow_is_not(tmp_path: Path) -> None:
    began = time.monotonic()
    assert rebuild(tmp_path, '"a":{' * 2_000_000) == {}
    assert rebuild(tmp_path, '"a":{"b":[' + "1," * 1_000_000) == {}
    assert time.monotonic() - began < 20


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 400), noise=st.text(max_size=20))
def test_no_corruption_raises_or_invents_anything(cut: int, noise: str, tmp_path: Path) -> None:
    whole = {"org/one": {"path": "/m/one", "tags": ["{"]}, "two": {"path": "/m/two", "k": {"a": 1}}}
    text = json.dumps(whole, indent=1)
    for broken in (text[:cut] + noise, noise + text[cut:], text[:cut] + noise + text[cut:]):
        found = rebuild(tmp_path, broken)
        assert all(
            is_model_id(name) and isinstance(entry["path"], str) for name, entry in found.items()
        )
    assert rebuild(tmp_path, text) == whole


_PART = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9.+-]|_(?!_)){0,12}", fullmatch=True).filter(
    lambda text: ".." not in text and not text.endswith("_") and not text.lower().endswith(".gguf")
)


@given(org=_PART, name=_PART, revision=_PART | st.just(""), file=st.sampled_from(["", "x.gguf"]))
def test_a_directory_name_tells_the_id(org: str, name: str, revision: str, file: str) -> None:
    parsed = ModelName.parse(ModelName(f"{org}/{name}", revision, file).key)
    assert parsed == ModelName(f"{org}/{name}", revision, file)
    assert id_of_directory(parsed.directory) == parsed.key


@given(text=st.text(max_size=60) | st.text(alphabet="ab./@:~_-\0", max_size=20))
def test_no_id_makes_a_directory_outside(text: str) -> None:
    if is_model_id(text):
        directory = ModelName.parse(text).directory
        assert "/" not in directory
        assert "\0" not in directory
        assert not directory.startswith(".")
    made = id_of_directory(text)
    assert made is None or is_model_id(made)
