import json
import os
from dataclasses import replace

import pytest

from tdml import config as settings
from tdml.config import MonitorSettings
from tdml.errors import SettingError
from tdml.monitor.record import line_of
from tdml.monitor.run_folder import RunFolder, read_metrics
from tdml.round.engine import Round
from tdml.settings.file import from_yaml

CONFIG = settings.load(["train.lr=0.05", "topology.cuts=[3]", "sync.outer_lr=1e-5"])


def config(path, **changes):
    return replace(CONFIG, run_dir=str(path), **changes)


def record(number, total=1.0):
    return Round(number, {}, test={"accuracy": 0.5, "loss": 0.7}, seconds={"total": total})


def line(number, total=1.0):
    return json.dumps(line_of(record(number, total)))


def take(config):
    """A run folder as the coordinator takes it."""
    folder = RunFolder(config)
    folder.begin(config)
    return folder


def leave_a_run(path, *rounds, **changes):
    """A run that has come to an end, with a checkpoint: nothing holds its lock."""
    folder = take(config(path, **changes))
    folder.checkpoints.mkdir()
    (folder.checkpoints / "round-000001.pt").touch()
    for number in rounds:
        folder.append(record(number))


def rounds_of(path):
    return [found["round"] for found in read_metrics(path)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "mine"


# Taking a folder


def test_a_new_folder_holds_the_settings(path):
    folder = take(config(path))
    assert folder.moved is None
    assert folder.checkpoints == path / "checkpoints"
    saved = from_yaml(path / "config.yaml")
    assert (saved.run_dir, saved.train.lr, saved.sync.outer_lr) == (str(path), 0.05, 1e-5)
    assert list(saved.topology.cuts) == [3]
    assert saved.model._target_ == "tdml.models.resnet18"


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


@pytest.mark.parametrize(("left", "moved"), [(".lock", False), ("config.yaml", True)])
def test_a_run_that_got_no_further_is_a_run(path, left, moved):
    path.mkdir(parents=True)
    (path / left).write_text("")
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


# Resuming


@pytest.mark.parametrize(
    "there", ["nothing", "folder", "run without a checkpoint", "checkpoint in the making"]
)
def test_nothing_to_resume(path, there):
    leave_no_checkpoint(path, there)
    with pytest.raises(SettingError, match=r"resume=true, but run_dir=.*mine holds no checkpoint"):
        take(config(path, resume=True))


@pytest.mark.parametrize(
    "there", ["nothing", "folder", "run without a checkpoint", "checkpoint in the making"]
)
def test_where_there_is_no_checkpoint_auto_begins(path, there):
    leave_no_checkpoint(path, there)
    changed = config(path, resume="auto", seed=5)  # nothing was done with the former settings
    folder = take(changed)
    assert bool(folder.moved) == (there in ("run without a checkpoint", "checkpoint in the making"))
    assert from_yaml(path / "config.yaml").seed == 5


def leave_no_checkpoint(path, there):
    if there == "folder":
        path.mkdir(parents=True)
    elif there != "nothing":
        leave_a_run(path)
        for file in (path / "checkpoints").iterdir():
            file.rename(file.with_suffix(".partial"))
        if there == "run without a checkpoint":
            (path / "checkpoints" / "round-000001.partial").unlink()


def test_a_run_goes_on_with_the_micro_batches_that_it_measured(path):
    measured = replace(CONFIG.topology, microbatches=8)
    leave_a_run(path, 1, topology=measured)
    folder = RunFolder(config(path, resume=True))
    assert (folder.config.topology, folder.changed) == (measured, {})
    del folder
    other = RunFolder(config(path, resume=True, topology=replace(measured, microbatches=4)))
    assert (other.config.topology.microbatches, other.changed) == (
        4,
        {"topology.microbatches": [8, 4]},
    )
    del other
    with pytest.raises(
        SettingError, match=r"topology\.microbatches=8 does not divide train\.batch_size=12"
    ):
        RunFolder(config(path, resume=True, train=replace(CONFIG.train, batch_size=12)))


@pytest.mark.parametrize("resume", [True, "auto"])
def test_a_run_is_resumed_in_its_place(path, resume):
    leave_a_run(path, 1, 2)
    folder = take(config(path, resume=resume))
    assert folder.moved is None
    assert rounds_of(path) == [1, 2]


@pytest.mark.parametrize("changes", [{"rounds": 99}, {"name": "other"}, {"device": "cpu"}])
def test_settings_that_may_change_are_written_when_the_run_goes_on(path, changes):
    leave_a_run(path, 1)
    before = (path / "config.yaml").read_text()
    folder = take(config(path, resume=True, **changes))
    assert (path / "config.yaml").read_text() == before
    folder.write_settings(config(path, resume=True, **changes))
    saved = from_yaml(path / "config.yaml")
    assert all(saved[key] == value for key, value in changes.items())


def test_what_changes_for_the_rounds_to_come_is_noted(path):
    leave_a_run(path, 1)
    schedule = {"_target_": "cosine", "final": 0.1}
    train = replace(CONFIG.train, lr=0.1, batch_size=16, patience=3, schedule=schedule, warmup=5)
    changes = {"rounds": 99, "name": "other", "train": train, "monitor": MonitorSettings(best=True)}
    folder = take(config(path, resume=True, **changes))
    assert folder.changed == {
        "monitor.best": [False, True],
        "rounds": [10, 99],
        "train.batch_size": [32, 16],
        "train.lr": [0.05, 0.1],
        "train.patience": [None, 3],
        "train.schedule._target_": ["constant", "cosine"],
        "train.schedule.final": [None, 0.1],
        "train.warmup": [0, 5],
    }


def test_spares_may_be_added_but_not_left_out(path):
    few, many = (replace(CONFIG.topology, spares=spares) for spares in (1, 2))
    leave_a_run(path, 1, topology=few)
    changed = config(path, resume=True, topology=many)
    take(changed).write_settings(changed)
    assert from_yaml(path / "config.yaml").topology.spares == 2
    with pytest.raises(
        SettingError, match=r"topology\.spares=1, but the run to resume has topology\.spares=2"
    ):
        take(config(path, resume=True, topology=few))


def test_a_run_that_was_carried_elsewhere(path):
    leave_a_run(path, 1)
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    take(config(elsewhere, resume=True)).write_settings(config(elsewhere, resume=True))
    assert from_yaml(elsewhere / "config.yaml").run_dir == str(elsewhere)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 5}, "seed=5, but the run to resume has seed=0"),
        (
            {"train": replace(CONFIG.train, momentum=0.1)},
            "train.momentum=0.1, but the run to resume has",
        ),
        (
            {"sync": replace(CONFIG.sync, local_steps=3)},
            "sync.local_steps=3, but the run to resume has",
        ),
        (
            {"topology": replace(CONFIG.topology, cuts=[4])},
            "topology.cuts=[4], but the run to resume has",
        ),
        (
            {"topology": replace(CONFIG.topology, cuts=None)},
            "topology.cuts=None, but the run to resume has",
        ),
        (
            {"topology": replace(CONFIG.topology, replicas=5)},
            "topology.replicas=5, but the run to resume has",
        ),
        (
            {"data": CONFIG.data | {"alpha": 0.1}},
            "data.alpha=0.1, but the run to resume has data.alpha=0.5",
        ),
        (
            {"data": CONFIG.data | {"colour": 1}},
            "data.colour=1, but the run to resume has data.colour=None",
        ),
        (
            {"attack": CONFIG.attack | {"replicas": [1]}},
            "attack.replicas=[1], but the run to resume has",
        ),
        (
            {"model": {"_target_": "tdml.models.resnet18"}},
            "model.num_classes=None, but the run to resume has",
        ),
    ],
    ids=lambda value: value.split(",")[0] if isinstance(value, str) else "",
)
def test_settings_that_must_stay(path, changes, message):
    leave_a_run(path, 1)
    before = (path / "config.yaml").read_text()
    with pytest.raises(SettingError) as caught:
        take(config(path, resume=True, **changes))
    assert message in str(caught.value)
    assert (path / "config.yaml").read_text() == before


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
    folder.rewind(last, line(last))
    assert (path / "metrics.jsonl").read_text() == "".join(line(number) + "\n" for number in rounds)
    folder.append(record(last + 1))
    assert rounds_of(path) == [*rounds, last + 1]


def test_a_line_that_is_there_is_kept_before_the_checkpoints(path):
    # The checkpoint is written before the round's last seconds are known.
    folder = take(config(path))
    folder.append(record(1, total=1.5))
    folder.rewind(1, line(1, total=1.0))
    assert read_metrics(path)[0]["seconds"] == {"total": 1.5}


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
