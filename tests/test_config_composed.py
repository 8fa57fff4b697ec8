"""Settings as they are composed, handed on, and compared."""

import re

import pytest
from omegaconf import OmegaConf

from tdml import config as settings
from tdml.config import check_world
from tdml.errors import SettingError
from tdml.settings.file import differing, fingerprint, from_yaml, to_yaml
from tdml.settings.schema import Config

DEFAULTS = settings.load([])


def test_the_groups_have_what_the_schema_needs():
    overrides = [
        "model=mlp",
        "data=cifar10",
        "sync=nesterov",
        "train=adamw",
        "attack=gaussian",
        "attack.nodes=[r1.s0]",
    ]
    config = settings.load(overrides)
    assert (config.sync.outer, config.train.optimizer["_target_"], config.data["augment"]) == (
        "nesterov",
        "adamw",
        True,
    )
    assert (config.attack["std"], config.attack["nodes"], config.attack["replicas"]) == (
        30.0,
        ["r1.s0"],
        [],
    )


def test_an_experiment_is_a_set_of_overrides():
    config = settings.load(["experiment=demo", "rounds=3"])
    assert (config.name, config.rounds, config.topology.spares) == ("demo", 3, 1)


def test_attackers_that_are_named_do_something():
    """What they do is easily left out: then a run without attackers looks like one with."""
    with pytest.raises(SettingError, match=r"^attack.nodes=\[r1.s0\]: with attack=none nobody"):
        settings.load(["attack.replicas=[]", "attack.nodes=[r1.s0]", "attack.from_round=2"])
    assert settings.load(["experiment=demo", "attack=none"]).attack["nodes"] == ["r3.s1"]
    assert settings.load(["attack.replicas=[]"]).attack["_target_"] is None
    idle = settings.load(["attack=none", "attack.replicas=[1]"]).attack
    assert (idle["_target_"], idle["replicas"]) == (None, [1])


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ("sync.outer_lr=0.5", "sync.outer=nesterov"),
        ("sync.outer_momentum=0.5", "sync.outer=nesterov"),
        ("topology.chunks=3", "topology.schedule=interleaved_1f1b"),
        ("data.alpha=0.1", "data.partition=dirichlet"),
    ],
)
def test_what_nothing_reads_is_refused_unless_that_is_said(given, needed):
    with pytest.raises(SettingError, match=f"^{given}: nothing reads it without {needed}: add"):
        settings.load([given])
    other, _, _ = needed.partition("=")
    group = other.partition(".")[0]
    chosen = {"sync": "fedavg", "topology": "default", "data": "digits"}[group]
    usual = {"sync.outer": "fedavg", "topology.schedule": "1f1b", "data.partition": "iid"}[other]
    with pytest.raises(SettingError, match=f"^{given}: nothing reads it"):
        settings.load([f"{group}={chosen}", given])  # which chooses nothing that reads it
    settings.load([given, needed])
    settings.load([given, f"{other}={usual}"])


def test_a_choice_of_the_group_brings_what_reads_it():
    assert settings.load(["sync=nesterov", "sync.outer_lr=0.5"]).sync.outer_lr == 0.5


def test_settings_come_back_from_their_file(tmp_path):
    config = settings.load(
        ["sync.deadline=2", "topology.cuts=[4]", "attack=sign_flip", "attack.replicas=[1]"]
    )
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    loaded = from_yaml(tmp_path / "config.yaml")
    assert OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), loaded)) == config


def test_interpolations_are_resolved(monkeypatch):
    monkeypatch.setenv("PLACE", "here")
    config = settings.load(["name=${now:%f}-${oc.env:PLACE}", "+data.kept=${name}"])
    assert re.fullmatch(r"\d{6}-here", config.name)
    assert config.run_dir == f"runs/{config.name}"
    assert config.data["kept"] == config.name


# Folders of a user's own


@pytest.fixture
def own(tmp_path):
    """Writes files into a folder, and gives the override that has Hydra look there."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / "my conf" / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return f"hydra.searchpath=['file://{tmp_path}/my conf']"

    return write


def test_choices_and_experiments_of_ones_own(own):
    net = "_target_: mine.net\nwidth: 3\ndefaults: [{backbone: small}]\n"
    mine = "# @package _global_\ndefaults: [{override /model: own}]\nrounds: 7\n"
    search = own(model__own=net, model__backbone__small="depth: 2\n", experiment__mine=mine)
    config = settings.load([search, "experiment=mine", "model.width=4"])
    assert config.rounds == 7
    assert config.model == {"_target_": "mine.net", "width": 4, "backbone": {"depth": 2}}


@pytest.mark.parametrize(
    ("files", "override", "message"),
    [
        (
            {"experiment__mine": "rounds: 7"},
            "experiment=mine",
            "experiment: the file of an experiment begins with the",
        ),
        (
            {"experiment__mine": "rounds: [1"},
            "experiment=mine",
            "a file of settings cannot be read: while parsing a f",
        ),
        (
            {"experiment__mine": "# @package _global_\nround: 7"},
            "experiment=mine",
            "round is unknown: perhaps rounds; tdml train --show-config prints all settings",
        ),
        (
            {"experiment__mine": "# @package _global_\ndefaults: [{model: cnn}]"},
            "experiment=mine",
            (
                "experiment/mine.yaml: there is no experiment/model/cnn: for the whole job write "
                "'override /model: cnn'"
            ),
        ),
        *(
            (
                {"experiment__mine": f"# @package _global_\n{group}: {value}"},
                "experiment=mine",
                f"{group}: a file of settings has {value or None} there: give settings below it, ",
            )
            for group, value in (("train", ""), ("train", "fast"), ("trust", 3), ("model", ""))
        ),
        (
            {"experiment__mine": "# @package _global_\ndefaults: [mine]"},
            "experiment=mine",
            "a file of settings cannot be read: maximum recursion depth exceeded",
        ),
        (
            {"model__own": "width: ???\n_target_: a.b"},
            "model=own",
            "model.width is missing: give it a value",
        ),
        (
            {"model__own": "_target_: a.b"},
            "model=other",
            "model=other is unknown: choose one of cnn, gpt, hf, mlp, own, resnet18",
        ),
        (
            {"model__backbone__small": ""},
            "+model/backbone=big",
            "model/backbone=big is unknown: choose one of small",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_in_a_folder_of_ones_own(own, files, override, message):
    with pytest.raises(SettingError) as caught:
        settings.load([own(**files), override])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("model__cnn", "model/cnn.yaml: give it another name"),
        ("config", "config.yaml: put what you change into experiment/NAME.yaml"),
    ],
)
def test_a_file_that_would_not_be_read_is_named(own, tmp_path, name, instead):
    with pytest.raises(
        SettingError, match=f"^{tmp_path}/my conf/.* would not be read, .* conf/{instead}$"
    ):
        settings.load([own(**{name: "seed: 1"})])


def test_our_own_folder_is_no_other():
    assert settings.load([f"hydra.searchpath=[file://{settings.config_dir()}]"]) == DEFAULTS


@pytest.mark.parametrize("path", ["file:///nowhere", "pkg://nowhere"])
def test_a_folder_that_is_not_there_is_named(path):
    with pytest.raises(SettingError, match=r"^hydra\.searchpath: .*nowhere is not available\.$"):
        settings.load([f"hydra.searchpath=[{path}]"])


# Ranks


def test_settings_that_differ_between_ranks_are_named():
    mine = fingerprint(DEFAULTS)
    other = fingerprint(
        settings.load(["seed=1", "train.lr=0.1", "+model.x=1", "topology.cuts=[3]"])
    )
    assert differing(mine, mine) == []
    assert differing(mine, other) == ["model.x", "seed", "topology.cuts", "train.lr"]


def test_what_the_coordinator_or_a_machine_has_of_its_own_may_differ():
    own = [
        "name=other",
        "run_dir=elsewhere",
        "device=cpu",
        "identity.folder=keys",
        "ledger.artifacts=store",
    ]
    assert fingerprint(settings.load(own)) == fingerprint(DEFAULTS)
    roots = [settings.load(["data=cifar10", f"data.root={root}"]) for root in ("a", "b")]
    assert fingerprint(roots[0]) == fingerprint(roots[1])


def test_the_ranks_that_a_topology_needs():
    topology = settings.load(
        ["topology.replicas=3", "topology.stages=2", "topology.spares=1"]
    ).topology
    check_world(topology, 8, resume=False)
    check_world(topology, 1, resume=True)
    for ranks in (7, 9):
        with pytest.raises(SettingError) as caught:
            check_world(topology, ranks, resume=False)
        assert (
            f"WORLD_SIZE is {ranks}, but 3 replicas × 2 stages + 1 coordinator + 1 spares need 8"
            in str(caught.value)
        )
        assert "--nproc-per-node 8" in str(caught.value)


def test_fewer_ranks_may_start_where_fewer_replicas_are_enough():
    topology = settings.load(
        ["topology.replicas=3", "topology.min_replicas=1", "topology.stages=2"]
    ).topology
    for ranks in range(3, 8):
        check_world(topology, ranks, resume=False)
    for ranks in (2, 8):
        with pytest.raises(SettingError, match=r"need 7 \(or from 3 on: topology\.min_replicas\)"):
            check_world(topology, ranks, resume=False)
