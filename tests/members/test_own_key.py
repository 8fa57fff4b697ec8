"""The keys of a machine's processes: one each, the same at every start."""

import multiprocessing
import stat
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tdml.errors import SettingError
from tdml.members.own_key import named_identity, node_identity


def test_public_half_lies_beside_the_private_one(tmp_path: Path) -> None:
    identity = named_identity(str(tmp_path / "keys"), "coordinator")
    assert (tmp_path / "keys" / "coordinator.pub").read_text() == f"{identity.public}\n"
    assert stat.S_IMODE((tmp_path / "keys" / "coordinator.pem").stat().st_mode) == 0o600
    (tmp_path / "keys" / "coordinator.pub").write_text("something else")
    assert named_identity(str(tmp_path / "keys"), "coordinator").public == identity.public
    assert (tmp_path / "keys" / "coordinator.pub").read_text() == f"{identity.public}\n"


def test_a_key_is_used_by_one_process_at_a_time_and_again_after_it(tmp_path: Path) -> None:
    first, second = _start(tmp_path), _start(tmp_path)
    assert first[1] != second[1]
    assert sorted(path.name for path in tmp_path.glob("*.pem")) == ["node0.pem", "node4.pem"]
    for process, _ in (first, second):
        process.kill()
        process.join()
    again = _start(tmp_path)
    assert again[1] == first[1]
    again[0].kill()


def test_who_was_killed_while_a_key_was_made_makes_one_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a container, whose processes have the same numbers at every start."""

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying.setattr("os.link", kill)
        dying.setattr(Path, "unlink", lambda _: None)  # a process that was killed leaves it
        named_identity(str(tmp_path), "coordinator")
    assert len([*tmp_path.iterdir()]) == 1, "what it had begun"
    assert named_identity(str(tmp_path), "coordinator").public


def test_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=r"^identity.folder="):
        node_identity(str(tmp_path / "file"), 0, 1)
    with pytest.raises(SettingError, match=r"^identity.folder="):
        named_identity(str(tmp_path / "file" / "keys"), "coordinator")


def _start(folder: Path) -> tuple[multiprocessing.Process, str]:
    """A process that holds a key, and its public half."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_hold, args=(str(folder), there), daemon=True)
    process.start()
    return process, here.recv()


def _hold(folder: str, told: Connection) -> None:
    told.send(node_identity(folder, 0, 4).public)
    told.poll(60)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.chmod(0o644), r"others may read .*: chmod 600 it, or make a new key$"),
        (lambda file: file.chmod(0o640), r"others may read .*: chmod 600 it, or make a new key$"),
        (lambda file: file.write_text("no key"), r"node0.pem is not a private key: "),
        (lambda file: (file.unlink(), file.mkdir()), r"node0.pem cannot be read: "),
    ],
    ids=["open", "open to a group", "text", "folder"],
)
def test_what_is_wrong_with_a_key_is_said_once(tmp_path: Path, spoil, said: str) -> None:
    named_identity(str(tmp_path), "node0")
    spoil(tmp_path / "node0.pem")
    with pytest.raises(SettingError, match=said) as raised:
        named_identity(str(tmp_path), "node0")
    assert str(raised.value).count("identity.folder") == 1


def test_who_tries_again_with_a_key_that_is_wrong_has_no_other(tmp_path: Path) -> None:
    """A card that comes too late for a session is made again: under another key a node's pay would
    go to that."""
    (tmp_path / "node0.pem").write_bytes(b"garbage")
    (tmp_path / "node0.pem").chmod(0o600)
    for _ in range(2):
        with pytest.raises(SettingError, match=r"node0\.pem is not a private key"):
            node_identity(str(tmp_path), 0, 1)
