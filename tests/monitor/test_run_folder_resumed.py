"""What a run that goes on takes over, and which settings may change."""

from dataclasses import replace

import pytest

from tdml.errors import SettingError
from tdml.monitor.run_folder import RunFolder
from tdml.settings.file import from_yaml
from tdml.settings.schema import MonitorSettings
from tests.monitor.own_folder import CONFIG, config, leave_a_run, rounds_of, take

_WITHOUT = ("run without a checkpoint", "checkpoint in the making", "a user's own file")


@pytest.mark.parametrize("there", ["nothing", "folder", *_WITHOUT])
def test_nothing_to_resume(path, there):
    leave_no_checkpoint(path, there)
    with pytest.raises(SettingError, match=r"resume=true, but run_dir=.*mine holds no checkpoint"):
        take(config(path, resume=True))


@pytest.mark.parametrize("there", ["nothing", "folder", *_WITHOUT])
def test_where_there_is_no_checkpoint_auto_begins(path, there):
    leave_no_checkpoint(path, there)
    changed = config(path, resume="auto", seed=5)  # nothing was done with the former settings
    folder = take(changed)
    assert bool(folder.moved) == (there in _WITHOUT)
    assert from_yaml(path / "config.yaml").seed == 5


@pytest.mark.parametrize("resume", [True, "auto"])
def test_a_run_without_its_settings_is_no_new_one(path, resume):
    leave_a_run(path)
    (path / "config.yaml").unlink()
    with pytest.raises(SettingError, match=r"mine holds checkpoints, but its config.yaml is miss"):
        take(config(path, resume=resume))


def leave_no_checkpoint(path, there):
    if there == "folder":
        path.mkdir(parents=True)
    elif there != "nothing":
        leave_a_run(path)
        for file in (path / "checkpoints").iterdir():
            file.rename(file.with_suffix(".partial"))
        if there == "run without a checkpoint":
            (path / "checkpoints" / "round-000001.partial").unlink()
        if there == "a user's own file":
            (path / "checkpoints" / "best-so-far.pt").touch()


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


def test_a_run_that_goes_on_with_other_code_says_so_and_owes_no_former_round(path):
    leave_a_run(path, 1)
    began = RunFolder(config(path, resume=True))
    assert began.compare_code("tdml 1a\nmine 2b") == []
    began.write_code("tdml 1a\nmine 2b")
    del began
    same = RunFolder(config(path, resume=True))
    assert (same.compare_code("tdml 1a\nmine 2b"), same.changes_work) == ([], False)
    del same
    other = RunFolder(config(path, resume=True))
    assert other.compare_code("tdml 1a\nmine 3c\nmore 4d") == ["mine", "more"]
    assert other.changed == {"code of mine": ["2b", "3c"], "code of more": [None, "4d"]}
    assert other.changes_work
    del other
    grown = RunFolder(config(path, resume=True))
    assert grown.compare_code("tdml 1a\nmine 2b\ndata.test_samples 9") == ["data.test_samples"]
    assert (grown.changed, grown.changes_work) == ({"data.test_samples": [None, "9"]}, True)
    del grown
    fresh = RunFolder(config(path, resume=False))
    assert fresh.compare_code("tdml 9f") == []


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
