import errno
import os
from pathlib import Path

import pytest

from tdml.common.files import replace_file


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "roster.yaml"
    replace_file(path, "old")

    def full(descriptor: int) -> None:
        assert path.read_text() == "old"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '\S+/roster.yaml'$"):
        replace_file(path, "new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [
        ("roster.yaml", "old")
    ]
    monkeypatch.undo()
    replace_file(path, "neu ⋯")
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [
        ("roster.yaml", "neu ⋯")
    ]


def test_what_cannot_be_written_is_named_as_the_user_knows_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"'\S+/nowhere/roster.yaml'$"):
        replace_file(tmp_path / "nowhere" / "roster.yaml", "new")


def test_a_path_without_a_name_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=r"'\.'$"):
        replace_file(Path(""), "new")
    assert not [*tmp_path.iterdir()]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    replace_file(tmp_path / "link", "new")
    assert not (tmp_path / "link").is_symlink()
    assert ((tmp_path / "victim").read_text(), (tmp_path / "link").read_text()) == (
        "untouched",
        "new",
    )


def test_a_link_in_the_place_of_the_partial_file_is_not_followed(tmp_path: Path) -> None:
    """Whoever fills a folder with links for all numbers of processes has nothing written."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f".page.{os.getpid()}").symlink_to(tmp_path / "victim")
    replace_file(tmp_path / "page", "new")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "page").read_text() == "new" and not (tmp_path / "page").is_symlink()
