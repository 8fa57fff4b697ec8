"""Whose key is whose, who is banned for good, and mistakes in either file."""

import fcntl
import multiprocessing
import threading
from pathlib import Path

import pytest
import yaml

from tdml.errors import SettingError
from tdml.members.roster import BanList, Roster, read_roster

_NODES = ["r0.s0", "r1.s0", "spare0"]
_KEYS = {name: f"{number:064x}" for number, name in enumerate(["coordinator", *_NODES])}
_GIVEN = {name: _KEYS[name] for name in _NODES}


def _file(folder: Path, content: object) -> str:
    path = folder / "file.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def test_roster_is_read_as_it_was_written(tmp_path: Path) -> None:
    roster = Roster(_KEYS, given=False, refused={})
    roster.write(tmp_path / "roster.yaml")
    assert read_roster(str(tmp_path / "roster.yaml"), _NODES) == _KEYS
    assert [path.name for path in tmp_path.iterdir()] == ["roster.yaml"]
    assert read_roster(_file(tmp_path, _GIVEN), _NODES) == _GIVEN, "the coordinator may be left out"
    assert read_roster(None, _NODES) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[1, 2", "cannot be read"),
        ("\x00", "cannot be read"),
        ("just text", "must map node names"),
        ("", "must map node names"),
        ({1: _KEYS["r0.s0"]}, "must map node names"),
        (_GIVEN | {"r7.s0": "7" * 64}, "r7.s0 is no node of this job"),
        (_GIVEN | {"r0.s0": "abc"}, "the key of r0.s0"),
        (_GIVEN | {"r0.s0": "A" * 64}, "the key of r0.s0"),
        ("r0.s0: " + "1" * 64, "in quotes"),
        ({"r0.s0": _KEYS["r0.s0"]}, "has no key for r1.s0, spare0"),
        (_GIVEN | {"spare0": _KEYS["r0.s0"]}, "r0.s0 and spare0 the same key"),
        (_GIVEN | {"coordinator": _KEYS["r0.s0"]}, "same key"),
    ],
)
def test_mistake_in_the_roster_is_named_in_one_line(
    content: object, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=r"^identity.roster=") as error:
        read_roster(_file(tmp_path, content), _NODES)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_roster_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"identity.roster=.*cannot be read"):
        read_roster(str(tmp_path / "nowhere.yaml"), _NODES)


def test_a_roster_may_name_spares_that_join_later(tmp_path: Path) -> None:
    later = _GIVEN | {"spare7": "9" * 64}
    assert read_roster(_file(tmp_path, later), _NODES) == later


def test_ban_list_keeps_what_is_added_and_what_others_add(tmp_path: Path) -> None:
    path = str(tmp_path / "folder" / "bans.yaml")
    ours, theirs = BanList(path), BanList(path)
    assert ours.keys == frozenset()
    ours.add("a" * 64, "r0.s0", "rank spread 9.8 sigma; held-out loss +3.1", "job1")
    theirs.add("b" * 64, "r1.s0", "copied", "job2")
    ours.add("c" * 64, "r2.s0", "late", "job1")
    theirs.add("a" * 64, "r9.s9", "again", "job3")
    assert ours.keys == {"a" * 64, "b" * 64, "c" * 64}
    kept = yaml.safe_load(Path(path).read_text())
    assert kept["a" * 64] == {
        "name": "r0.s0",
        "reason": "rank spread 9.8 sigma; held-out loss +3.1",
        "job": "job1",
    }
    assert BanList(path).keys == theirs.keys == {"a" * 64, "b" * 64, "c" * 64}
    assert (ours.of("job1"), ours.of("job2")) == ({"a" * 64, "c" * 64}, {"b" * 64})
    assert ours.of("job3") == frozenset(), "the first has the key"


def test_a_key_that_a_user_puts_on_the_ban_list_is_kept_out_and_no_job_has_banned_it(
    tmp_path: Path,
) -> None:
    bans = BanList(_file(tmp_path, {"a" * 64: "lost"}))
    assert bans.keys == {"a" * 64}
    assert bans.of("job") == frozenset()


def test_without_a_file_a_ban_ends_with_the_job() -> None:
    bans = BanList(None)
    bans.add("a" * 64, "r0.s0", "late", "job")
    assert bans.keys == {"a" * 64}
    assert BanList(None).keys == frozenset()


@pytest.mark.parametrize("content", ["[1", "text", "abc: {}", "- 1", "1: {}"])
def test_mistake_in_the_ban_list_is_named(content: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^identity.ban_list="):
        BanList(_file(tmp_path, content))


@pytest.mark.parametrize("content", ["r0.s0: a\nr0.s0: b\n", "{" * 3000, "[" * 3000])
def test_a_name_given_twice_and_bottomless_yaml_are_one_line(content: str, tmp_path: Path) -> None:
    for read in (BanList, lambda file: read_roster(file, _NODES)):
        with pytest.raises(
            SettingError,
            match=r"^identity.* cannot be read: (r0\.s0 is .* twice|maximum recursion)",
        ):
            read(_file(tmp_path, content))


@pytest.mark.timeout(30)
def test_a_strangers_list_does_not_unfold_to_more_than_any_memory_holds(tmp_path: Path) -> None:
    merged = (f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12))
    bomb = "a0: &a0 {x: 1}\n" + "".join(merged)
    with pytest.raises(SettingError, match=r"^identity.ban_list=.* it has aliases"):
        BanList(_file(tmp_path, bomb))
    with pytest.raises(SettingError, match=r"^identity.roster=.* it has aliases"):
        read_roster(_file(tmp_path, bomb), _NODES)


def test_who_adds_waits_until_who_writes_has_done(tmp_path: Path) -> None:
    bans = BanList(str(tmp_path / "bans.yaml"))
    adding = threading.Thread(target=bans.add, args=("a" * 64, "r0.s0", "late", "job"))
    with (tmp_path / "bans.yaml.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        adding.start()
        adding.join(0.3)
        assert adding.is_alive() and not (tmp_path / "bans.yaml").exists()
    adding.join(60)
    assert (tmp_path / "bans.yaml").exists()


def test_ban_list_survives_many_writers(tmp_path: Path) -> None:
    path = tmp_path / "bans.yaml"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add_many, args=(str(path), number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(BanList(str(path)).keys) == 3 * 8


def _add_many(path: str, writer: int) -> None:
    bans = BanList(path)
    for number in range(8):
        bans.add(f"{writer:032x}{number:032x}", "r0.s0", "late", "job")
