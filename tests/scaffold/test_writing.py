from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from sagellm_core.contract import ConfigurationError
from sagellm_core.scaffold import write_repository

TEXTS = {
    PurePosixPath(".hidden/deep/file.yml"): "a: 1\n",
    PurePosixPath("README.md"): "# Ünïcode\n",
    PurePosixPath("package/__init__.py"): "",
    PurePosixPath("package/plugin.py"): "x = 1\n",
    PurePosixPath("tests/test_it.py"): "y = 2\n",
}


def tree(place: Path) -> dict[str, str]:
    return {
        str(path.relative_to(place)): path.read_text(encoding="utf-8")
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


WRITTEN = {str(path): text for path, text in TEXTS.items()}


@pytest.mark.parametrize("name", ["new", "deep/er/new", "."])
def test_everything_is_written_and_nothing_else(tmp_path: Path, name: str) -> None:
    write_repository(TEXTS, tmp_path / name)
    assert tree(tmp_path / name) == WRITTEN
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".sagellm")] == []


def test_an_existing_directory_keeps_what_it_had(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref")
    write_repository(TEXTS, tmp_path)
    assert tree(tmp_path) == {".git/HEAD": "ref", **WRITTEN}


@pytest.mark.parametrize("there", ["README.md", "tests/other.py"])
def test_nothing_is_written_over(tmp_path: Path, there: str) -> None:
    file = tmp_path / there
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(ConfigurationError) as caught:
        write_repository(TEXTS, tmp_path)
    assert there.partition("/")[0] in caught.value.message
    assert tree(tmp_path) == {there: "mine"}


def test_a_link_that_leads_nowhere_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "README.md").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match=r"README\.md"):
        write_repository(TEXTS, tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_in_the_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("mine")
    with pytest.raises(ConfigurationError, match="no directory"):
        write_repository(TEXTS, tmp_path / "new")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_repository(TEXTS, tmp_path / "new" / "below")
    assert tree(tmp_path) == {"new": "mine"}


class Interrupting(dict[PurePosixPath, str]):
    """Texts that Ctrl-C stops somewhere in the middle."""

    def items(self):  # type: ignore[no-untyped-def]
        for number, item in enumerate(super().items()):
            if number == 3:
                raise KeyboardInterrupt
            yield item


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_repository(Interrupting(TEXTS), tmp_path / "deep" / "new")
    assert list(tmp_path.iterdir()) == []


def test_what_comes_to_be_there_meanwhile_stays_and_the_rest_is_taken_back(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "new"

    class Racing(dict[PurePosixPath, str]):
        """Somebody else makes a file of ours while we write."""

        def items(self):  # type: ignore[no-untyped-def]
            yield from super().items()
            (tmp_path / "deep").mkdir()
            place.mkdir()
            (place / "package").mkdir()
            (place / "package" / "theirs.py").write_text("theirs")

    with pytest.raises(ConfigurationError, match="File exists"):
        write_repository(Racing(TEXTS), place)
    assert tree(tmp_path) == {"deep/new/package/theirs.py": "theirs"}


def test_a_name_that_no_file_can_have_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="too long"):
        write_repository(TEXTS, tmp_path / ("n" * 300))
    assert list(tmp_path.iterdir()) == []
