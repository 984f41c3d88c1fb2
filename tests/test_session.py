"""Where a session keeps what it converts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sagellm_core.contract import ConfigurationError
from sagellm_core.session import cache_directory

NOBODY = "~nobody_of_that_name/cache"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SAGELLM_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_the_configured_place_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "sagellm"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_directory() == Path("/xdg/sagellm")
    monkeypatch.setenv("SAGELLM_CACHE_DIR", "~/kept")
    assert cache_directory() == tmp_path / "kept"
    assert cache_directory("/mine") == Path("/mine")


def test_the_home_of_a_user_who_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="cache_dir='~nobody") as caught:
        cache_directory(NOBODY)
    assert caught.value.hint
    monkeypatch.setenv("SAGELLM_CACHE_DIR", NOBODY)
    with pytest.raises(ConfigurationError, match="SAGELLM_CACHE_DIR"):
        cache_directory()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take another user id")
def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    script = (
        "import os, sagellm_core.session as session\n"
        "os.setuid(54_321)\n"
        "print(session.cache_directory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "None"
