"""What goes wrong while a model is downloaded."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.contract import ModelError, ModelFormatError, UnsafeModelError
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


def test_a_killed_download_goes_on_where_it_was(
    hub: Any, big: bytes, root: Path, caplog: pytest.LogCaptureFixture, child: Any
) -> None:
    hub.delay = 0.1
    process = child(
        "from sagellm_core.models import download_model; download_model('org/big', progress=False)",
    )
    part = root / ".downloads/org__big/model.safetensors.part"
    end = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 200_000) and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
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
    hub: Any, big: bytes, tiny: dict[str, bytes], root: Path, child: Any
) -> None:
    before = download_model("org/tiny", progress=False)
    process = child(_FULL)
    out, err = process.communicate(timeout=60)
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
