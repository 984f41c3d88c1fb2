"""Which files are looked at, and that everything but their text is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sagellm_core.contract import ConfigurationError
from sagellm_core.migrate import FilePlan, Settings, plan_migration, write

SCRIPT = "pip install vllm\n"
DONE = "pip install sagellm-backend\n"
OLD_PYTHON = "from sage.common.model_registry import vllm_registry\n"
NEW_PYTHON = "from sage.common.model_registry import sagellm_registry\n"


def migrate(*paths: Path, **settings: object) -> list[FilePlan]:
    plans = plan_migration(list(paths), Settings(**settings))  # type: ignore[arg-type]
    for plan in plans:
        write(plan)
    return plans


def reasons(plans: list[FilePlan]) -> list[str]:
    return [finding.text for plan in plans for finding in plan.left]


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("a.py", OLD_PYTHON.replace("\n", "\r\n").encode(), b"sagellm_registry\r\n"),
        ("a.py", b"\xef\xbb\xbf" + OLD_PYTHON.encode(), b"\xef\xbb\xbf" + NEW_PYTHON.encode()),
        (
            "a.py",
            f"# coding: latin-1\n{OLD_PYTHON}x = 'ü'\n".encode("latin-1"),
            f"# coding: latin-1\n{NEW_PYTHON}x = 'ü'\n".encode("latin-1"),
        ),
        ("a.py", f"x = '😀é'\n{OLD_PYTHON}".encode(), f"x = '😀é'\n{NEW_PYTHON}".encode()),
        ("a.py", OLD_PYTHON.strip().encode(), NEW_PYTHON.strip().encode()),
        (
            "a.yaml",
            b"\xef\xbb\xbfllm:\r\n  engine: vllm\r\n",
            b"\xef\xbb\xbfllm:\r\n  engine: sagellm\r\n",
        ),
        ("a.yaml", "x: 😀\nllm: {engine: vllm}".encode(), "x: 😀\nllm: {engine: sagellm}".encode()),
        ("a.sh", b"pip install vllm\r\n", b"pip install sagellm-backend\r\n"),
        ("requirements.txt", b"\xef\xbb\xbfvllm", b"\xef\xbb\xbfsagellm-backend"),
        ("requirements/gpu.txt", b"vllm", b"sagellm-backend"),
        ("dev-requirements.in", b"vllm>1", b"sagellm-backend"),
    ],
)
def test_line_ends_encodings_and_marks_stay(
    tmp_path: Path, name: str, before: bytes, after: bytes
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(before)
    migrate(tmp_path)
    assert path.read_bytes().endswith(after)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.yaml", b"generator: {vllm: {model_name: a/b}} # \xff\n", "byte 39 is not UTF-8"),
        ("a.yaml", "engine: vllm".encode("utf-16"), "byte 0 is not UTF-8"),
        ("a.py", b"# coding: nope\nvllm\n", "unknown encoding"),
        ("a.py", b"vllm = '\xff'\n", "byte"),
        ("a.sh", b"pip install vllm \0\n", "NUL"),
        ("a.yaml", b"vllm: [" * 5000, "YAML|deep"),
        ("a.py", b"vllm = " + b"(" * 5000, "parse|deep"),
        ("a.py", b"vllm = " + b"(" * 5000 + b")" * 5000, "parse|deep"),
        ("a.py", b"vllm = " + b"-" * 50000 + b"1", "parse|deep"),
        ("a.py", b"vllm = " + b"+".join([b"1"] * 50000), "parse|deep"),
        ("pyproject.toml", b"vllm = [", "TOML"),
    ],
)
def test_what_cannot_be_read_is_listed_and_left(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    (text,) = reasons(migrate(tmp_path))
    assert any(part in text for part in reason.split("|"))
    assert path.read_bytes() == data


def test_a_huge_file_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"engine: vllm\n" + b"#" * 5_000_000)
    assert "not looked at" in reasons(migrate(tmp_path))[0]


def test_files_that_say_nothing_of_it_are_not_even_parsed(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "broken.yaml").write_text("a: [")
    assert migrate(tmp_path) == []


def test_generated_and_foreign_directories_are_not_entered(tmp_path: Path) -> None:
    for name in (".git", "node_modules", ".venv", "__pycache__", "build", "x.egg-info", "env"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.sh").write_text(SCRIPT)
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "a.txt").write_text("vllm\n")
    (tmp_path / "README.md").write_text(SCRIPT)
    assert migrate(tmp_path) == []
    assert [plan.path.name for plan in migrate(tmp_path / "build")] == ["a.sh"]


def test_exclude_takes_paths_and_names(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.sh").write_text(SCRIPT)
        (tmp_path / name / "b.sh").write_text(SCRIPT)
    plans = migrate(tmp_path, exclude=("old/", "b.*"))
    assert [plan.path for plan in plans] == [tmp_path / "new" / "a.sh"]


def test_links_are_not_followed_out_and_named_ones_are(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "a.sh").write_text(SCRIPT)
    (inside / "file.sh").symlink_to(outside / "a.sh")
    (inside / "dir").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    assert migrate(inside) == []
    migrate(inside / "file.sh")
    assert (inside / "file.sh").is_symlink()
    assert (outside / "a.sh").read_text() == DONE


def test_a_file_named_twice_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text(SCRIPT)
    assert len(migrate(tmp_path, tmp_path / "a.sh", tmp_path)) == 1


def test_the_mode_stays(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    path.write_text(SCRIPT)
    path.chmod(0o751)
    migrate(path)
    assert path.stat().st_mode & 0o7777 == 0o751


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.py")
    assert migrate(tmp_path) == []


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no file or directory"):
        migrate(tmp_path / "nope")


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.sh"
    path.write_text(SCRIPT)
    (plan,) = plan_migration([path], Settings())
    path.write_text("mine\n")
    with pytest.raises(OSError, match="changed while"):
        write(plan)
    assert path.read_text() == "mine\n"
    assert [each.name for each in tmp_path.iterdir()] == ["a.sh"]


@pytest.mark.parametrize(
    "line", ["import vllm", "import os, vllm", "from vllm.lora import x", "import os, \\\n  vllm"]
)
def test_the_requirement_stays_whatever_the_import_looks_like(tmp_path: Path, line: str) -> None:
    (tmp_path / "app.py").write_text(f"{line}\nprint(vllm.__version__)\n")
    (tmp_path / "requirements.txt").write_text("vllm\n")
    plans = plan_migration([tmp_path], Settings())
    assert not any(plan.changed for plan in plans)
    assert any("still imports it" in left.text for plan in plans for left in plan.left)
