from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagellm_core.models import ModelRegistryError, fetch_recommended_models

_KEYS = {
    "model_id",
    "display_name",
    "size_billion",
    "disk_gb",
    "min_gpu_memory_gb",
    "recommended_gpu",
    "throughput_tps",
    "tags",
    "description",
}


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SAGE_LLM_MODEL_INDEX_URL", raising=False)


@pytest.fixture
def index(hub: Any) -> Any:
    """Publishes an index and returns its address."""

    def publish(value: Any) -> str:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        hub.repositories["org/index"] = {"index.json": raw}
        return f"{hub.url}/org/index/resolve/main/index.json"

    return publish


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections, sends a byte now and then, and never comes to an end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[")
                while not done.wait(0.05):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        done.set()
        thread.join()


def test_without_an_index_the_list_is_ours_and_the_network_is_left_alone() -> None:
    models = fetch_recommended_models()
    assert all(set(model) == _KEYS for model in models)
    assert all(model["throughput_tps"] is None for model in models)  # which depends on the device
    assert {"chat", "embedding"} <= {tag for model in models for tag in model["tags"]}
    models[0]["model_id"] = "changed"
    assert fetch_recommended_models()[0]["model_id"] != "changed"


@pytest.mark.parametrize("wrap", [list, lambda models: {"models": models}])
def test_an_index_that_is_named(index: Any, wrap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = index(wrap([{"model_id": "org/x", "disk_gb": 2}, {"no": "id"}, 5]))
    (model,) = fetch_recommended_models(url)
    assert (set(model), model["model_id"], model["disk_gb"]) == (_KEYS, "org/x", 2)
    monkeypatch.setenv("SAGE_LLM_MODEL_INDEX_URL", url)
    assert fetch_recommended_models() == [model]


@pytest.mark.parametrize("value", [b"{", b"5", b"[]", b"\xff", {"models": 5}, b"[" * 100_000])
def test_an_index_that_is_of_no_use_is_a_warning(
    index: Any, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert fetch_recommended_models(index(value)) == fetch_recommended_models()
    assert "built-in recommendations" in caplog.text


def test_an_index_that_cannot_be_had(
    hub: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("http://127.0.0.1:9/x", f"{hub.url}/a/b/resolve/main/none.json"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert fetch_recommended_models(url)
        assert url in caplog.text
    monkeypatch.setenv("SAGELLM_OFFLINE", "1")
    hub.asked.clear()
    with caplog.at_level(logging.WARNING):
        assert fetch_recommended_models(f"{hub.url}/x")
    assert "SAGELLM_OFFLINE=1" in caplog.text
    assert hub.asked == []


def test_the_timeout_is_for_everything(
    silent_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert fetch_recommended_models(silent_server, timeout=0.3)
    assert time.monotonic() - began < 5
    assert "more than 0.3 s" in caplog.text


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "x", "/etc/passwd"])
def test_addresses_that_are_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRegistryError, match="no address"):
        fetch_recommended_models(url)
    for timeout in (0, -1, "soon"):
        with pytest.raises(ModelRegistryError, match="timeout"):
            fetch_recommended_models(timeout=timeout)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a b", "http://127.0.0.1:1/"])
def test_an_address_that_cannot_be_asked_is_warned_about(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert fetch_recommended_models(url) == fetch_recommended_models()
    assert "cannot be used" in caplog.text


def test_a_server_that_does_not_speak_http_is_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-nonsense\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with caplog.at_level(logging.WARNING):
            assert fetch_recommended_models(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()
    assert "BadStatusLine" in caplog.text


@pytest.mark.parametrize("url", ["http://[::1/", "file:///etc/passwd"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ModelRegistryError, match="no address"):
        fetch_recommended_models(url)


@pytest.mark.parametrize("timeout", [float("inf"), float("nan"), 1e300])
def test_a_timeout_that_no_socket_takes_is_refused(timeout: float) -> None:
    with pytest.raises(ModelRegistryError, match="timeout"):
        fetch_recommended_models("http://127.0.0.1:1/", timeout)
