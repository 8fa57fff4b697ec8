"""A run folder: how one is taken, and what is written into it."""

import json
import os

import pytest

from tdml.errors import SettingError
from tdml.monitor.run_folder import RunFolder, read_metrics
from tdml.settings.file import from_yaml
from tests.monitor.own_folder import config, leave_a_run, line, record, rounds_of, take

# Taking a folder


def test_a_new_folder_holds_the_settings(path):
    folder = take(config(path))
    assert folder.moved is None
    assert folder.checkpoints == path / "checkpoints"
    saved = from_yaml(path / "config.yaml")
    assert (saved.run_dir, saved.train.lr, saved.sync.outer_lr) == (str(path), 0.05, 1e-5)
    assert list(saved.topology.cuts) == [3]
    assert saved.model._target_ == "tdml.models.resnet18"


def test_a_run_that_ends_early_says_how_to_go_on(path):
    """After a rollback to the start of the job there is a checkpoint of round 0."""
    folder = take(config(path))
    assert folder.how_to_go_on == "begin again with resume=false"
    folder.checkpoints.mkdir()
    (folder.checkpoints / "round-000000.pt").touch()
    assert folder.how_to_go_on == "go on with resume=true"


def test_an_earlier_run_is_moved_aside(path):
    moved = []
    for number in (1, 2, 3):
        folder = take(config(path))
        moved.append(folder.moved)
        folder.append(record(number))
        del folder
    assert moved == [None, path.with_name("mine.1"), path.with_name("mine.2")]
    assert [
        rounds_of(place) for place in (path.with_name("mine.1"), path.with_name("mine.2"), path)
    ] == [[1], [2], [3]]


def test_an_earlier_run_stays_until_the_new_one_begins(path):
    leave_a_run(path, 1)
    folder = RunFolder(config(path))
    assert (folder.moved, rounds_of(path)) == (None, [1])
    with pytest.raises(SettingError, match="in use"):
        RunFolder(config(path))
    folder.begin(config(path))
    assert (folder.moved, rounds_of(path)) == (path.with_name("mine.1"), [])


def test_an_empty_folder_is_taken_as_it_is(path):
    path.mkdir(parents=True)
    assert take(config(path)).moved is None


@pytest.mark.parametrize(("left", "moved"), [([".lock"], False), ([".lock", "config.yaml"], True)])
def test_a_run_that_got_no_further_is_a_run(path, left, moved):
    path.mkdir(parents=True)
    for name in left:
        (path / name).write_text("")
    assert take(config(path)).moved == (path.with_name("mine.1") if moved else None)


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_under_way_is_left_alone(path, resume):
    folder = take(config(path))
    folder.append(record(1))
    user = rf"process {os.getpid()} on \S+, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d: end that, or choose"
    with pytest.raises(SettingError, match=rf"run_dir=.*mine is in use by another run, {user}"):
        take(config(path, resume=resume))
    assert rounds_of(path) == [1]
    assert [place.name for place in path.parent.iterdir()] == ["mine"]
    folder.append(record(2))
    assert rounds_of(path) == [1, 2]


def test_the_folder_that_replaces_one_moved_aside_is_locked_too(path):
    leave_a_run(path, 1)
    folder = take(config(path))
    assert folder.moved is not None
    with pytest.raises(SettingError, match="in use"):
        take(config(path))


def test_the_folder_is_locked_until_it_is_moved_aside(path, monkeypatch):
    leave_a_run(path, 1)
    folder, rename, refused = RunFolder(config(path)), os.rename, []

    def meanwhile(before, after):
        with pytest.raises(SettingError, match="in use") as caught:
            RunFolder(config(path))
        refused.append(caught.value)
        rename(before, after)

    monkeypatch.setattr(os, "rename", meanwhile)
    folder.begin(config(path))
    assert len(refused) == 1 and folder.moved is not None
    RunFolder(config(folder.moved))  # nobody's any more


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_folder_that_cannot_be_made(tmp_path, where):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"run_dir=.* cannot be written: "):
        take(config(tmp_path / where))


def test_a_folder_of_something_else_is_not_moved(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("one")
    with pytest.raises(SettingError, match="run_dir"):
        take(config(tmp_path / "thesis"))
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "one"


def test_the_current_folder_is_not_moved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chapter.txt").write_text("one")
    with pytest.raises(SettingError):
        take(config("."))


def test_a_run_in_the_current_folder_is_not_moved(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    leave_a_run(".", 1)
    with pytest.raises(SettingError, match="run_dir"):
        take(config("."))


# metrics.jsonl and summary.json


def test_rounds_are_added_line_by_line(path):
    folder = take(config(path))
    folder.append(record(1))
    folder.append(record(2))
    assert (path / "metrics.jsonl").read_text() == line(1) + "\n" + line(2) + "\n"


def test_no_metrics(tmp_path):
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_line_that_was_cut_off_is_left_out(tmp_path, cut):
    (tmp_path / "metrics.jsonl").write_text(line(1) + "\n" + line(2)[:cut])
    assert rounds_of(tmp_path) == [1]


@pytest.mark.parametrize(
    ("text", "last", "rounds"),
    [
        (f"{line(1)}\n{line(2)}\n{line(3)}\n", 3, [1, 2, 3]),
        (f"{line(1)}\n{line(2)}\n{line(3)}\n", 2, [1, 2]),  # round 3 comes again
        (f"{line(1)}\n{line(2)}\n", 3, [1, 2, 3]),  # the checkpoint was written, its line was not
        (f"{line(1)}\n{line(2)}\n{line(3)[:30]}", 3, [1, 2, 3]),
        (f"{line(1)}\n{line(2)[:30]}", 1, [1]),
        ("", 1, [1]),
    ],
    ids=["in step", "ahead", "behind", "cut off", "cut off ahead", "empty"],
)
def test_metrics_are_rewound_to_the_checkpoint(path, text, last, rounds):
    leave_a_run(path)
    (path / "metrics.jsonl").write_text(text)
    folder = take(config(path, resume=True))
    assert folder.rewind(last, line(last), last) == ""
    assert (path / "metrics.jsonl").read_text() == "".join(line(number) + "\n" for number in rounds)
    folder.append(record(last + 1))
    assert rounds_of(path) == [*rounds, last + 1]


def test_rounds_that_metrics_have_lost_are_named(path):
    folder = take(config(path))
    folder.append(record(2))
    assert folder.rewind(4, line(4), 4) == "metrics.jsonl has lost rounds: 1, 3"


def test_a_line_that_is_there_is_kept_before_the_checkpoints(path):
    # The checkpoint is written before the round's last seconds are known.
    folder = take(config(path))
    folder.append(record(1, total=1.5))
    folder.rewind(1, line(1, total=1.0), 1)
    assert read_metrics(path)[0]["seconds"] == {"total": 1.5}


def test_rounds_that_were_taken_back_stay_as_such_where_a_run_was_cut_off_in_that(path):
    folder = take(config(path))
    for number in (1, 2, 3):
        folder.append(record(number))
    folder.rewind(1, line(1), 3)
    kept = [(each["round"], each.get("void", False)) for each in read_metrics(path, void=True)]
    assert kept == [(1, False), (2, True), (3, True)]


def test_the_summary_is_replaced(path):
    folder = take(config(path))
    folder.summarise({"round": 1})
    folder.summarise({"round": 2, "banned": ["r3.s1"]})
    assert json.loads((path / "summary.json").read_text()) == {"round": 2, "banned": ["r3.s1"]}
    assert {place.name for place in path.iterdir()} == {".lock", "config.yaml", "summary.json"}


def test_a_summary_that_fails_leaves_the_last(path):
    folder = take(config(path))
    folder.summarise({"round": 1})
    with pytest.raises(TypeError):
        folder.summarise({"round": object()})
    assert json.loads((path / "summary.json").read_text()) == {"round": 1}
