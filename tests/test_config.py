"""The settings of a job: their defaults, and what a user may ask for."""

import pytest

from tdml import config as settings
from tdml.errors import SettingError
from tdml.settings.checks import check
from tdml.settings.file import from_yaml, to_yaml
from tests.settings.configs import ATTACK, DEFAULTS, changed

# Defaults


def test_defaults_are_sound():
    check(DEFAULTS)
    assert (DEFAULTS.name, DEFAULTS.run_dir, DEFAULTS.resume, DEFAULTS.device) == (
        "tdml",
        "runs/tdml",
        False,
        "auto",
    )
    assert (DEFAULTS.topology.replicas, DEFAULTS.topology.stages, DEFAULTS.topology.spares) == (
        4,
        2,
        0,
    )
    assert (DEFAULTS.sync.outer, DEFAULTS.sync.local_steps) == ("fedavg", None)
    assert DEFAULTS.trust.enabled
    assert DEFAULTS.data["_target_"] == "tdml.data.digits"
    assert DEFAULTS.model["_target_"] == "tdml.models.resnet18"
    assert DEFAULTS.attack["_target_"] is None


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ([], None),
        (["~data.size"], None),
        (["data.size=8"], 8),
        (["data=digits"], 32),
        (["experiment=demo"], 32),
    ],
)
def test_a_data_set_that_is_named_alone_does_not_take_the_defaults_size(more, size):
    assert settings.load(["data._target_=mine.own", *more]).data.get("size") == size
    assert settings.load(["data._target_=tdml.data.digits"]).data["size"] == 32


def test_the_run_folder_has_the_jobs_name():
    assert settings.load(["name=mine"]).run_dir == "runs/mine"


def test_the_run_folder_may_be_in_the_users_home(monkeypatch):
    """A folder named ~ beside the user's files is one that nobody dares to remove."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert settings.load(["run_dir='~/runs/${name}'", "name=x"]).run_dir == "/home/ada/runs/x"


@pytest.mark.parametrize(
    ("batch_size", "stages", "microbatches"),
    [(32, 2, 2), (32, 3, 4), (32, 1, 1), (30, 4, 5), (7, 2, 7), (2, 3, 2)],
)
def test_micro_batches_are_the_fewest_that_fill_the_pipeline(batch_size, stages, microbatches):
    config = changed({"train.batch_size": batch_size, "topology.stages": stages})
    assert config.microbatches == microbatches


@pytest.mark.parametrize(
    ("chosen", "stages", "accumulate", "microbatches"),
    [(None, 3, 2, 4), (None, 2, 4, 4), (None, 5, 2, 8), (4, 3, 2, 8)],
)
def test_the_batches_of_a_step_fill_the_pipeline_together(chosen, stages, accumulate, microbatches):
    """At the least, every batch is one micro-batch."""
    config = changed(
        {"topology.microbatches": chosen, "topology.stages": stages, "train.accumulate": accumulate}
    )
    check(config)
    assert config.microbatches == microbatches
    assert config.train.effective_batch_size == 32 * accumulate


def test_micro_batches_as_set():
    assert changed({"topology.microbatches": 16}).microbatches == 16


# What a user may ask for


@pytest.mark.parametrize(
    "changes",
    [
        {"topology.replicas": 1, "topology.stages": 1},
        {"topology.stages": 4, "topology.microbatches": 4},
        {"topology.stages": 8, "topology.schedule": "gpipe", "topology.microbatches": 1},
        {"topology.schedule": "interleaved_1f1b", "topology.cuts": [1, 2, 3]},
        {"topology.cuts": [3]},
        {"topology.stages": 1, "topology.cuts": []},
        {
            "sync.local_steps": 1,
            "sync.outer": "nesterov",
            "sync.outer_momentum": 0.0,
            "sync.deadline": 0.5,
        },
        {"train.lr": 0.0, "train.optimizer": {"_target_": "adam"}},
        {"trust.budget": 0.0},
        {"trust.budget": 1.0},
        {"data.partition": "dirichlet", "data.alpha": 1},
        ATTACK | {"attack.replicas": [0, 3]},
        ATTACK
        | {
            "attack.nodes": ["r3.s1", "r0.s0"],
            "attack.from_round": 5,
            "attack.share_of_rounds": 0.25,
        },
        {"model": {"_target_": "a.b"}, "data": {"_target_": "c.d"}, "attack": {}},
    ],
    ids=str,
)
def test_sound_settings_pass(changes):
    check(changed(changes))


@pytest.mark.parametrize(("text", "value"), [("false", False), ("true", True), ("auto", "auto")])
def test_whether_to_go_on(text, value, tmp_path):
    config = settings.load([f"resume={text}"])
    assert config.resume is value or config.resume == value == "auto"
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert from_yaml(tmp_path / "config.yaml").resume == value


@pytest.mark.parametrize("text", ["maybe", "1", "null", "[true]"])
def test_whether_to_go_on_is_one_of_three(text):
    with pytest.raises(
        SettingError, match=r"^resume=.* is unknown: choose one of false, true, auto$"
    ):
        settings.load([f"resume={text}"])
