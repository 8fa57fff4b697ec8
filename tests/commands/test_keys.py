"""`tdml keys`."""

from pathlib import Path

import pytest
import yaml

from tdml.cli import run
from tdml.members.own_key import named_identity


def test_keys_are_made_once_and_printed_as_lines_of_a_roster(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The coordinator has local rank 0 where it runs, so that machine's workers begin with 1."""
    command = ["keys", "--nodes", "2", "--folder", str(tmp_path / "keys")]
    assert run([*command, "--coordinator"]) == 0
    first = yaml.safe_load(capsys.readouterr().out)
    assert list(first) == ["coordinator", "node1", "node2"]
    assert first["node2"] == named_identity(str(tmp_path / "keys"), "node2").public
    assert run([*command, "--coordinator"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == first
    assert run(command) == 0
    assert list(yaml.safe_load(capsys.readouterr().out)) == ["node0", "node1"]


def test_a_folder_that_cannot_be_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert run(["keys", "--folder", str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("tdml: identity.folder=") and error.count("\n") == 1


def test_no_nodes_are_a_mistake(capsys: pytest.CaptureFixture) -> None:
    assert run(["keys", "--nodes", "0"]) == 1
    assert capsys.readouterr().err == "tdml: --nodes=0 must be at least 1\n"


def test_no_folder_is_not_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["keys", "--folder", ""]) == 1
    assert capsys.readouterr().err == "tdml: --folder is empty: give one, or leave it out\n"
    assert not list(tmp_path.iterdir())
