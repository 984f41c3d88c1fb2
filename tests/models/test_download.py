"""Downloads into the registry, against a small hub on this machine."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ModelError, ModelFormatError, UnsafeModelError
from sagellm_core.contract import ModelNotFoundError as ContractModelNotFoundError
from sagellm_core.models import (
    DiskSpaceError,
    ModelDownloadError,
    ModelNotFoundError,
    ModelNotLocalError,
    ModelRegistryError,
    add_model,
    delete_model,
    download_model,
    ensure_model_available,
    find_model,
    get_model_path,
    list_models,
    model_root,
    resolve,
)
from sagellm_core.models.staging import unfinished_downloads

pytest.importorskip("huggingface_hub")


@pytest.fixture(autouse=True)
def _this_hub(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def root() -> Path:
    return model_root()


@pytest.fixture
def tiny(hub: Any, hf_dir: Path) -> dict[str, bytes]:
    files = {file.name: file.read_bytes() for file in hf_dir.iterdir()}
    hub.repositories["org/tiny"] = files
    return files


@pytest.fixture
def big(hub: Any, make_safetensors: Callable[..., bytes], config: dict[str, Any]) -> bytes:
    """``org/big``: one megabyte of weights in one file, which is returned."""
    raw = make_safetensors({"w": ("F32", [512, 512])})
    hub.repositories["org/big"] = {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": raw,
    }
    return raw


def _child(hub: Any, code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "HF_ENDPOINT": hub.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- what a download leaves -----------------------------------------------------------------


def test_a_download_is_real_files_in_their_place(tiny: dict[str, bytes], root: Path) -> None:
    info = download_model("org/tiny", tags=["small"], progress=False)
    assert info.path == root / "org__tiny" == get_model_path("org/tiny")
    assert {name: (info.path / name).read_bytes() for name in tiny} == tiny
    assert not any(file.is_symlink() for file in info.path.iterdir())
    assert (info.tags, info.revision, bool(info.commit)) == (("small",), "", True)
    assert info.size_bytes >= sum(map(len, tiny.values()))
    assert list_models() == [info]
    assert list((root / ".downloads").iterdir()) == [root / ".downloads/org__tiny.lock"]


def test_a_whole_model_is_not_fetched_again(hub: Any, tiny: dict[str, bytes]) -> None:
    first = download_model("org/tiny", tags=["a"], progress=False)
    hub.asked.clear()
    again = download_model("org/tiny", tags=["b"], progress=False)
    assert hub.asked == []
    assert (again.path, again.tags) == (first.path, ("a", "b"))
    assert again.last_used >= first.last_used


def test_force_fetches_everything_again(hub: Any, tiny: dict[str, bytes]) -> None:
    path = download_model("org/tiny", progress=False).path
    (path / "config.json").write_text('{"model_type": "changed"}')
    download_model("org/tiny", force=True, progress=False)
    assert (path / "config.json").read_bytes() == tiny["config.json"]
    assert hub.fetched("model.safetensors") == 2


def test_a_failed_force_leaves_what_was_there(hub: Any, tiny: dict[str, bytes]) -> None:
    path = download_model("org/tiny", progress=False).path
    hub.statuses["model.safetensors"] = [404]
    with pytest.raises(ModelDownloadError):
        download_model("org/tiny", force=True, progress=False)
    assert get_model_path("org/tiny") == path


def test_revisions_lie_side_by_side(hub: Any, tiny: dict[str, bytes], root: Path) -> None:
    default = download_model("org/tiny", progress=False)
    v1 = download_model("org/tiny", "v1", progress=False)
    v2 = download_model("org/tiny@v2", progress=False)
    assert [each.path.name for each in (default, v1, v2)] == [
        "org__tiny",
        "org__tiny__v1",
        "org__tiny__v2",
    ]
    assert (v1.model_id, v1.revision) == ("org/tiny@v1", "v1")
    assert get_model_path("org/tiny") == default.path
    assert get_model_path("org/tiny@v1") == v1.path
    assert ensure_model_available("org/tiny", "v2") == v2.path
    assert delete_model("org/tiny@v1")
    assert get_model_path("org/tiny") == default.path
    assert delete_model("org/tiny")
    assert get_model_path("org/tiny") == v2.path  # the newest that there is
    assert not delete_model("org/tiny")


def test_a_commit_finds_the_download_that_has_it(hub: Any, tiny: dict[str, bytes]) -> None:
    info = download_model("org/tiny", progress=False)
    hub.asked.clear()
    assert find_model(f"org/tiny@{hub.commit}") == info
    assert download_model("org/tiny", hub.commit, progress=False).path == info.path
    assert resolve("org/tiny").revision == hub.commit
    assert hub.asked == []


def test_ids_that_share_a_directory_name_do_not_share_the_directory(
    hub: Any, tiny: dict[str, bytes]
) -> None:
    hub.repositories["a/b__v1"] = hub.repositories["a/b"] = tiny
    one = download_model("a/b__v1", progress=False)
    other = download_model("a/b", "v1", progress=False)
    assert one.path != other.path
    assert get_model_path("a/b__v1") == one.path
    assert get_model_path("a/b@v1") == other.path


def test_one_gguf_file_of_several(hub: Any, gguf_raw: bytes, root: Path) -> None:
    hub.repositories["org/quants"] = {"a.gguf": gguf_raw, "b.gguf": gguf_raw, "config.json": b"{}"}
    with pytest.raises(ModelFormatError, match="2 GGUF files") as caught:
        download_model("org/quants", progress=False)
    assert caught.value.hint == "Name one of them: org/quants:a.gguf"
    info = download_model("org/quants:b.gguf", progress=False)
    assert sorted(file.name for file in info.path.glob("*")) == [
        ".sagellm.json",
        "b.gguf",
        "config.json",
    ]
    assert resolve("org/quants:b.gguf").path == info.path / "b.gguf"
    assert hub.fetched("a.gguf") == 0
    assert resolve("org/quants:a.gguf").path.name == "a.gguf"
    assert len(list_models()) == 2
    with pytest.raises(ModelFormatError, match=r"no file c\.gguf"):
        download_model("org/quants:c.gguf", progress=False)


def test_patterns_narrow_the_choice_and_never_widen_it(
    hub: Any, tiny: dict[str, bytes], gguf_raw: bytes
) -> None:
    tiny["evil.py"] = tiny["pytorch_model.bin"] = b"\x80\x04."
    path = download_model("org/tiny", progress=False, allow_patterns=["*"]).path
    assert not {"evil.py", "pytorch_model.bin"} & {file.name for file in path.iterdir()}
    hub.repositories["org/quants"] = {"a.gguf": gguf_raw, "b.gguf": gguf_raw}
    path = download_model("org/quants", progress=False, ignore_patterns="a*").path
    assert (path / "b.gguf").exists()


def test_the_parts_of_a_sentence_encoder_come_too(hub: Any, tiny: dict[str, bytes]) -> None:
    tiny["modules.json"] = b"[]"
    tiny["1_Pooling/config.json"] = b'{"pooling_mode_mean_tokens": true}'
    tiny["onnx/model.safetensors"] = b"x"
    tiny["../../evil.json"] = tiny[".sagellm.json"] = b"{}"
    path = download_model("org/tiny", progress=False).path
    assert (path / "1_Pooling/config.json").read_bytes() == tiny["1_Pooling/config.json"]
    assert not (path / "onnx").exists()
    assert json.loads((path / ".sagellm.json").read_text())["model_id"] == "org/tiny"


# --- what goes wrong ------------------------------------------------------------------------


def test_a_killed_download_goes_on_where_it_was(
    hub: Any, big: bytes, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.delay = 0.1
    child = _child(
        hub,
        "from sagellm_core.models import download_model; download_model('org/big', progress=False)",
    )
    part = root / ".downloads/org__big/model.safetensors.part"
    end = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 200_000) and time.monotonic() < end:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    kept = part.stat().st_size
    assert 0 < kept < len(big)
    assert get_model_path("org/big") is None
    assert list_models() == []
    (unfinished,) = unfinished_downloads(root)
    assert (unfinished.model_id, unfinished.done > kept) == ("org/big", True)
    hub.delay = 0.0
    path = download_model("org/big", progress=False).path
    assert hub.ranges == [f"bytes={kept}-"]
    assert (path / "model.safetensors").read_bytes() == big


def test_a_connection_that_breaks_off_is_taken_up_again(hub: Any, big: bytes) -> None:
    hub.cut["model.safetensors"] = 400_000
    told: list[tuple[str, int, int]] = []
    path = download_model("org/big", progress=lambda *news: told.append(news)).path
    assert (path / "model.safetensors").read_bytes() == big
    assert hub.ranges == ["bytes=400000-", "bytes=800000-"]
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1] == told[-1][2] > len(big)


def test_a_server_without_ranges_begins_anew(hub: Any, big: bytes, root: Path) -> None:
    part = root / ".downloads/org__big/model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(big[:1000])
    hub.ignores_ranges = True
    path = download_model("org/big", progress=False).path
    assert (path / "model.safetensors").read_bytes() == big


@pytest.mark.parametrize("kept", [b"x" * 5000, b"x" * 5_000_000], ids=["shorter", "longer"])
def test_a_beginning_of_another_version_is_noticed(
    hub: Any, big: bytes, root: Path, kept: bytes
) -> None:
    part = root / ".downloads/org__big/model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(kept)
    path = download_model("org/big", progress=False).path
    assert (path / "model.safetensors").read_bytes() == big


def test_without_digests_only_the_same_commit_is_gone_on_with(
    hub: Any, big: bytes, root: Path
) -> None:
    hub.has_digests = False
    part = root / ".downloads/org__big/model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    path = download_model("org/big", progress=False).path
    assert (path / "model.safetensors").read_bytes() == big
    assert hub.ranges == []


def test_content_that_is_not_what_was_promised_is_refused(hub: Any, big: bytes) -> None:
    hub.sent["model.safetensors"] = big[:-1] + b"x"
    with pytest.raises(ModelDownloadError, match="another digest"):
        download_model("org/big", progress=False)
    hub.sent["model.safetensors"] = big + b"x"
    with pytest.raises(ModelDownloadError, match="more than the"):
        download_model("org/big", force=True, progress=False)
    assert list_models() == []


def test_a_busy_server_is_asked_again(hub: Any, tiny: dict[str, bytes]) -> None:
    hub.statuses["model.safetensors"] = [503]
    assert download_model("org/tiny", progress=False).is_complete
    assert hub.fetched("model.safetensors") == 2


@pytest.mark.parametrize(
    ("status", "error"), [(401, ModelNotFoundError), (403, ModelNotFoundError)]
)
def test_a_file_that_is_not_open_to_everyone(
    hub: Any, tiny: dict[str, bytes], status: int, error: type[Exception]
) -> None:
    hub.statuses["model.safetensors"] = [status]
    with pytest.raises(error, match=f"denied .HTTP status {status}") as caught:
        download_model("org/tiny", progress=False)
    assert "hf auth login" in str(caught.value)


def test_a_token_goes_to_the_hub_and_not_to_where_it_redirects(
    hub: Any, tiny: dict[str, bytes]
) -> None:
    download_model("org/tiny", progress=False, token="hf_secret")
    assert set(hub.authorizations) == {"Bearer hf_secret"}
    hub.authorizations.clear()
    other = hub.url.replace("127.0.0.1", "localhost")
    hub.redirect = other
    with pytest.raises(ModelDownloadError):  # as it redirects for ever
        download_model("org/tiny", progress=False, token="hf_secret", force=True, max_workers=1)
    assert hub.authorizations[:2] == ["Bearer hf_secret", None]


def test_the_space_on_the_disk_is_looked_at_first(hub: Any, tiny: dict[str, bytes]) -> None:
    hub.claimed["model.safetensors"] = 10**17
    with pytest.raises(DiskSpaceError, match=r"needs 100,000,000,000,000,\d{3} bytes") as caught:
        download_model("org/tiny", progress=False)
    free = shutil.disk_usage(model_root()).free
    assert f"and {free // 10**9:,}"[:6] in caught.value.message
    assert caught.value.hint
    assert hub.fetched("model.safetensors") == 0


_FULL = """\
import json, resource, sys
from sagellm_core.contract import SageLLMError
from sagellm_core.models import download_model, list_models
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    download_model("org/big", progress=False)
except SageLLMError as error:
    print(json.dumps(error.to_dict()))
"""


def test_a_disk_that_gets_full_in_the_middle(
    hub: Any, big: bytes, tiny: dict[str, bytes], root: Path
) -> None:
    before = download_model("org/tiny", progress=False)
    child = _child(hub, _FULL)
    out, err = child.communicate(timeout=60)
    error = json.loads(out)
    assert (error["code"], error["retryable"], err) == ("disk_space", False, "")
    assert "model.safetensors.part" in error["message"]
    assert list_models() == [before]
    part = root / ".downloads/org__big/model.safetensors.part"
    assert part.read_bytes() == big[:300_000]
    path = download_model("org/big", progress=False).path
    assert hub.ranges == ["bytes=300000-"]
    assert (path / "model.safetensors").read_bytes() == big


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of half a megabyte, where this user may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(hub: Any, big: bytes, small_disk: Path) -> None:
    # Between looking at the free space and needing it, somebody else takes it.
    from sagellm_core.models.fetch import Fetcher
    from sagellm_core.models.repository import RemoteFile

    file = RemoteFile(
        "model.safetensors", f"{hub.url}/org/big/resolve/main/model.safetensors", len(big)
    )
    fetcher = Fetcher("org/big", {}, 10, lambda _: None)
    with pytest.raises(DiskSpaceError, match="The disk is full"):
        fetcher.fetch(file, small_disk / file.name)
    assert (small_disk / f"{file.name}.part").stat().st_size > 100_000


def test_a_model_can_be_deleted_on_a_full_disk(
    hf_dir: Path, small_disk: Path, gguf_file: Path
) -> None:
    shutil.copytree(hf_dir, small_disk / "org__tiny")
    add_model("org/tiny", small_disk / "org__tiny", root=small_disk)
    add_model("elsewhere", gguf_file, root=small_disk)
    with (small_disk / "filler").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096) == 4096:
            if not shutil.disk_usage(small_disk).free:
                break
    with pytest.raises(DiskSpaceError, match="cannot be written"):
        add_model("another", hf_dir, root=small_disk, tags=["x" * 10_000])
    assert len(list_models(small_disk)) == 2
    assert delete_model("org/tiny", small_disk)
    assert [model.model_id for model in list_models(small_disk)] == ["elsewhere"]


def test_a_file_system_that_is_read_only(
    hub: Any, tiny: dict[str, bytes], small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    info = download_model("org/tiny", root=small_disk, progress=False)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert [model.model_id for model in list_models(small_disk)] == ["org/tiny"]
    assert ensure_model_available("org/tiny", root=small_disk) == info.path
    for change in (
        lambda: download_model("org/tiny", "v1", root=small_disk, progress=False),
        lambda: add_model("x", info.path, root=small_disk),
        lambda: delete_model("org/tiny", small_disk),
    ):
        with pytest.raises(ModelRegistryError, match="Read-only file system"):
            change()
    assert get_model_path("org/tiny", small_disk) == info.path


def test_a_corrupt_registry_on_a_read_only_file_system(
    hub: Any, tiny: dict[str, bytes], small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    info = download_model("org/tiny", root=small_disk, progress=False)
    (small_disk / "metadata.json").write_text("{")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with caplog.at_level(logging.WARNING):
        assert get_model_path("org/tiny", small_disk) == info.path
    assert "left as it is; 1 models were found on disk" in caplog.text


def test_a_repository_that_is_broken_is_said_to_be(hub: Any, tiny: dict[str, bytes]) -> None:
    tiny["model.safetensors"] = tiny["model.safetensors"][:-1]
    with pytest.raises(ModelFormatError, match=r"no whole model.*truncated"):
        download_model("org/tiny", progress=False)
    hub.repositories["org/old"] = {"config.json": b"{}", "pytorch_model.bin": b"\x80\x04."}
    with pytest.raises(UnsafeModelError):
        download_model("org/old", progress=False)
    assert list_models() == []


@pytest.mark.parametrize("variable", ["SAGELLM_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_tried(
    hub: Any, tiny: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, variable: str, root: Path
) -> None:
    monkeypatch.setenv(variable, "1")
    for attempt in (download_model, ensure_model_available, resolve):
        with pytest.raises(ModelNotLocalError, match=f"{variable}=1") as caught:
            attempt("org/tiny")
        assert variable in caught.value.hint
    assert hub.asked == []
    assert not root.exists()
    monkeypatch.delenv(variable)
    path = ensure_model_available("org/tiny")
    monkeypatch.setenv(variable, "1")
    assert ensure_model_available("org/tiny") == path


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../b", "/etc", "~/x", "./x", "a\0b", "", "a b/c", "a/b/c", "-x/y", "a//b", 5, None],
)
def test_ids_that_are_refused(hub: Any, name: Any, root: Path) -> None:
    with pytest.raises(ModelRegistryError):
        download_model(name, progress=False)
    with pytest.raises(ModelError):
        ensure_model_available(name)
    if isinstance(name, str):
        assert get_model_path(name) is None
        assert find_model(name) is None
        assert not delete_model(name)
    else:
        for function in (get_model_path, find_model, delete_model):
            with pytest.raises(ModelRegistryError, match="is a string"):
                function(name)
    assert hub.asked == []
    assert not root.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"local_dir": "/x"}, "root=DIRECTORY"),
        ({"nonsense": 1}, "It has: token"),
        ({"max_workers": 0}, "above 0"),
        ({"etag_timeout": "soon"}, "seconds"),
        ({"allow_patterns": 5}, "allow_patterns="),
        ({"resume_download": False}, "It has: token"),
    ],
)
def test_options_that_mean_nothing_here(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelRegistryError) as caught:
        download_model("org/tiny", progress=False, **options)
    assert says in caught.value.hint


def test_options_of_old_callers_that_ask_for_what_happens(tiny: dict[str, bytes]) -> None:
    info = download_model(
        "org/tiny", None, None, None, False, False, resume_download=True, etag_timeout=5
    )
    assert info.is_complete


def test_one_revision_is_named_once(tiny: dict[str, bytes]) -> None:
    with pytest.raises(ModelRegistryError, match="two revisions"):
        download_model("org/tiny@v1", "v2", progress=False)
    assert download_model("org/tiny@v1", "v1", progress=False).revision == "v1"


def test_nothing_is_downloaded_through_a_link(
    hub: Any, tiny: dict[str, bytes], root: Path, tmp_path: Path
) -> None:
    root.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "org__tiny").symlink_to(outside)
    with pytest.raises(ModelRegistryError, match="is a link"):
        download_model("org/tiny", progress=False)
    assert list(outside.iterdir()) == []
    (root / "org__tiny").unlink()
    # A link where the download grows is replaced, and one inside it is not followed.
    staging = root / ".downloads/org__tiny"
    staging.parent.mkdir(exist_ok=True)
    staging.symlink_to(outside)
    download_model("org/tiny", progress=False)
    assert list(outside.iterdir()) == []
    staging.mkdir()
    (staging / "1_Pooling").symlink_to(outside)
    (staging / "config.json.part").symlink_to(outside / "written")
    tiny["modules.json"] = tiny["1_Pooling/config.json"] = b"{}"
    download_model("org/tiny", "v1", progress=False)
    assert list(outside.iterdir()) == []


# --- what is there already ------------------------------------------------------------------


def test_an_incomplete_copy_is_the_beginning_of_the_next_download(
    hub: Any, tiny: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    path = download_model("org/tiny", progress=False).path
    (path / "model.safetensors").unlink()
    hub.asked.clear()
    with caplog.at_level(logging.WARNING):
        assert get_model_path("org/tiny") is None
    assert "model.safetensors is missing" in caplog.text
    assert [model.state for model in list_models()] == ["incomplete"]
    with pytest.raises(ModelNotFoundError):
        ensure_model_available("org/tiny", auto_download=False)
    assert ensure_model_available("org/tiny") == path
    assert (hub.fetched("model.safetensors"), hub.fetched("config.json")) == (1, 0)


def test_a_whole_copy_that_was_put_there_is_registered(
    hub: Any, tiny: dict[str, bytes], hf_dir: Path, root: Path
) -> None:
    root.mkdir(parents=True)
    place = hf_dir.rename(root / "org__tiny")
    assert download_model("org/tiny", progress=False).path == place
    assert hub.asked == []


def test_a_directory_that_another_id_uses_is_left_alone(
    hub: Any, tiny: dict[str, bytes], gguf_file: Path, root: Path
) -> None:
    (root / "org__tiny").mkdir(parents=True)
    mine = gguf_file.rename(root / "org__tiny/mine.gguf")
    add_model("mine", mine)
    info = download_model("org/tiny", progress=False)
    assert info.path.name.startswith("org__tiny~")
    assert get_model_path("mine") == mine
    assert get_model_path("org/tiny") == info.path


def test_files_of_somebody_else_are_not_lost(
    hub: Any, tiny: dict[str, bytes], root: Path, tmp_path: Path
) -> None:
    (root / "org__tiny").mkdir(parents=True)
    (root / "org__tiny/notes.md").write_text("mine")
    (root / "org__tiny/model-00009-of-00009.safetensors").write_bytes(b"of an older version")
    path = download_model("org/tiny", progress=False).path
    assert (path / "notes.md").read_text() == "mine"
    assert not (path / "model-00009-of-00009.safetensors").exists()
    (root / "org__tiny__v1").write_text("a file")
    assert download_model("org/tiny", "v1", progress=False).path.name.startswith("org__tiny__v1~")
    assert (root / "org__tiny__v1").read_text() == "a file"


def test_a_root_behind_a_link(
    hub: Any, tiny: dict[str, bytes], hf_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    root = tmp_path / "link"
    root.symlink_to(tmp_path / "real")
    mine = hf_dir.rename(root / "org__tiny")
    add_model("mine", mine, root=root)
    info = download_model("org/tiny", root=root, progress=False)
    assert info.path.name.startswith("org__tiny~")
    assert delete_model("mine", root)
    assert delete_model("org/tiny", root)
    assert not [place for place in root.iterdir() if place.name.startswith("org")]


def test_an_empty_file_is_a_file(hub: Any, tiny: dict[str, bytes]) -> None:
    tiny["merges.txt"] = b""
    path = download_model("org/tiny", progress=False, tags="one").path
    assert (path / "merges.txt").read_bytes() == b""
    assert list_models()[0].tags == ("one",)


def test_a_model_that_sage_has_is_not_fetched_again(
    hub: Any, tiny: dict[str, bytes], hf_dir: Path
) -> None:
    old = Path(os.environ["HOME"]) / ".sage/models/vllm"
    old.mkdir(parents=True)
    place = hf_dir.rename(old / "org__tiny")
    entry = {"path": str(place), "revision": None, "size_bytes": 5, "last_used": 1, "tags": ["x"]}
    (old / "metadata.json").write_text(json.dumps({"org/tiny": entry}))
    info = download_model("org/tiny", tags=["y"], progress=False)
    assert (info.path, info.tags, info.origin) == (place, ("x", "y"), "sagellm")
    assert hub.asked == []
    assert delete_model("org/tiny")
    assert (place / "config.json").exists()


def test_deleting_an_unfinished_download(hub: Any, big: bytes, root: Path) -> None:
    hub.cut["model.safetensors"] = 1000
    hub.statuses["config.json"] = [404]
    with pytest.raises(ModelDownloadError):
        download_model("org/big", progress=False)
    assert unfinished_downloads(root)
    assert delete_model("org/big")
    assert unfinished_downloads(root) == []
    assert not delete_model("org/big")


def test_ensure_takes_paths_of_models_too(hf_dir: Path, tmp_path: Path) -> None:
    assert ensure_model_available(str(hf_dir)) == hf_dir
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFormatError, match="empty"):
        ensure_model_available(str(tmp_path / "empty"))


def test_a_directory_that_is_no_model_does_not_hide_an_id(
    hf_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model("data", hf_dir)
    (tmp_path / "work/data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert ensure_model_available("data") == hf_dir


def test_a_registry_that_cannot_be_written_can_be_used(
    tiny: dict[str, bytes], root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = download_model("org/tiny", progress=False).path
    (root / "metadata.json.lock").unlink()
    (root / "metadata.json.lock").mkdir()  # as good as read-only, for root too
    assert ensure_model_available("org/tiny") == path


# --- several at once ------------------------------------------------------------------------

_DOWNLOAD = """\
import sys
from sagellm_core.models import download_model
stages = set()
info = download_model("org/big", progress=lambda stage, *_: stages.add(stage.split()[0]))
print(info.path, *sorted(stages))
"""


def test_eight_processes_fetch_one_model_once(hub: Any, big: bytes, root: Path) -> None:
    hub.delay = 0.03
    children = [_child(hub, _DOWNLOAD) for _ in range(8)]
    answers = [child.communicate(timeout=120) for child in children]
    assert [err for _, err in answers] == [""] * 8
    assert {out.split()[0] for out, _ in answers} == {str(root / "org__big")}
    assert (hub.fetched("model.safetensors"), hub.fetched("config.json")) == (1, 1)
    stages = [out.split()[1:] for out, _ in answers]
    assert stages.count(["downloading"]) == 1
    assert ["waiting"] in stages


def test_a_killed_download_lets_those_who_wait_go_on(hub: Any, big: bytes, root: Path) -> None:
    hub.delay = 0.2
    first = _child(hub, _DOWNLOAD)
    part = root / ".downloads/org__big/model.safetensors.part"
    end = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
        time.sleep(0.01)
    second = _child(hub, _DOWNLOAD)
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
    hub: Any, big: bytes, tiny: dict[str, bytes]
) -> None:
    hub.gates["org/big"] = threading.Event()
    child = _child(hub, _DOWNLOAD)
    while not hub.fetched("model.safetensors"):
        time.sleep(0.01)
    try:
        download_model("org/tiny", progress=False)
        assert delete_model("org/tiny")
        assert not delete_model("org/big")  # nor is the download disturbed
    finally:
        hub.gates["org/big"].set()
    assert child.communicate(timeout=60)[1] == ""
    assert [model.model_id for model in list_models()] == ["org/big"]


def test_without_progress_nothing_is_printed(hub: Any, tiny: dict[str, bytes]) -> None:
    code = (
        "from sagellm_core.models import download_model\n"
        "download_model('org/tiny', progress=False)\n"
        "download_model('org/tiny', force=True)"  # a bar is for terminals only
    )
    out, err = _child(hub, code).communicate(timeout=60)
    assert (out, err) == ("", "")


def test_errors_are_what_old_and_new_callers_catch(tiny: dict[str, bytes]) -> None:
    for caught in (RuntimeError, ModelRegistryError, ContractModelNotFoundError):
        with pytest.raises(caught):
            download_model("org/none", progress=False)
