"""What cannot work is named, before anything starts."""

import math
import re

import pytest

from tdml import config as settings
from tdml.settings.checks import check
from tests.settings.configs import ATTACK, changed, refused, refused_by_check


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("rounds", 0, 1),
        ("seed", -1, 0),
        ("topology.replicas", 0, 1),
        ("topology.min_replicas", 0, 1),
        ("topology.stages", 0, 1),
        ("topology.spares", -1, 0),
        ("topology.microbatches", 0, 1),
        ("topology.chunks", 0, 1),
        ("sync.local_steps", 0, 1),
        ("sync.outer_lr", 0.0, 1e-12),
        ("sync.outer_momentum", -0.1, 0),
        ("sync.deadline", 0.0, 1e-12),
        ("sync.timeout", 0.5, 1),
        ("gather.memory", -1, 0),
        ("checkpoint.memory", -1, 0),
        ("trust.audit_windows", 0, 1),
        ("trust.audit_memory", -1, 0),
        ("rewards.pool", -1, 0),
        ("rewards.stake", -1, 0),
        ("train.batch_size", 0, 1),
        ("train.accumulate", 0, 1),
        ("train.warmup", -1, 0),
        ("train.label_smoothing", -0.1, 0),
        ("train.clip_norm", 0.0, 1e-12),
        ("train.clip_norm", -1.0, 1e-12),
        ("train.lr", -0.1, 0),
        ("train.momentum", -0.1, 0),
        ("train.weight_decay", -0.1, 0),
        ("data.alpha", 0.0, 1e-12),
        ("attack.from_round", 0, 1),
    ],
)
def test_too_small(name, value, least):
    enough = "above 0" if least == 1e-12 else f"of at least {least}"
    assert refused_by_check({name: value}).startswith(
        f"{name}={value} must be a finite number {enough}"
    )
    check(changed({"topology.schedule": "gpipe", name: least}))


def test_a_job_starts_with_no_more_and_grows_to_no_less_than_it_is_set_to_have():
    assert refused_by_check({"topology.min_replicas": 5}).startswith(
        "topology.min_replicas=5, topology.replicas=4, topology.max_replicas=None: "
    )
    for few in (1, 3):
        assert f"topology.max_replicas={few}" in refused_by_check({"topology.max_replicas": few})
    check(changed({"topology.min_replicas": 4, "topology.max_replicas": 4}))


def test_one_step_cannot_be_made_fewer():
    assert refused_by_check({"sync.balance": True, "sync.local_steps": 1}) == (
        "sync.balance=true, sync.local_steps=1: nobody can take fewer: raise sync.local_steps"
    )
    for steps in (None, 2):
        check(changed({"sync.balance": True, "sync.local_steps": steps}))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["train.lr", "sync.outer_lr", "sync.deadline", "data.alpha"])
def test_no_number_to_compute_with(name, value):
    assert refused_by_check({name: value}).startswith(f"{name}={value} ")


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("topology.schedule", ["gpipe", "1f1b", "interleaved_1f1b"]),
        ("sync.outer", ["fedavg", "nesterov"]),
        ("trust.repeatable", ["require", "warn"]),
        ("trust.rollback", ["auto", "off"]),
        ("trust.repeatable", ["require", "warn"]),
        ("train.precision", ["fp32", "bf16"]),
        ("data.partition", ["iid", "dirichlet", "contiguous", "own"]),
        ("device", ["auto", "cpu", "cuda"]),
    ],
)
def test_unknown_choice(name, choices):
    assert (
        refused_by_check({name: "zigzag"})
        == f"{name}=zigzag is unknown: choose one of {', '.join(choices)}"
    )
    for choice in choices:
        check(changed({name: choice, "sync.local_steps": 1}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"topology.microbatches": 5},
            r"topology\.microbatches=5 does not divide train\.batch_size=32",
        ),
        (
            {"topology.stages": 4, "topology.microbatches": 2},
            r"topology\.microbatches=2 is less than topology\.stages=4.*1f1b.*topology\.schedule=gpipe",
        ),
        (
            {"topology.stages": 9, "train.batch_size": 8},
            r"topology\.microbatches=8 is less than topology\.stages=9.*train\.batch_size=8.*gpipe",
        ),
        (
            {
                "topology.schedule": "interleaved_1f1b",
                "topology.microbatches": 5,
                "train.batch_size": 10,
            },
            r"topology\.microbatches=5: interleaved_1f1b needs a multiple of 2",
        ),
        (
            {"topology.cuts": [3, 6]},
            r"topology\.cuts=\[3, 6\] must list 1 rising block numbers.*2 stages",
        ),
        ({"topology.cuts": []}, r"topology\.cuts=\[\] must list 1 rising"),
        ({"topology.cuts": [0]}, r"topology\.cuts=\[0\] must list 1 rising"),
        (
            {"topology.stages": 3, "topology.cuts": [6, 3]},
            r"topology\.cuts=\[6, 3\] must list 2 rising",
        ),
        (
            {"topology.stages": 3, "topology.cuts": [3, 3]},
            r"topology\.cuts=\[3, 3\] must list 2 rising",
        ),
        (
            {"topology.schedule": "interleaved_1f1b", "topology.stages": 1, "topology.cuts": None},
            r"topology\.schedule=interleaved_1f1b needs topology\.stages of at least 2",
        ),
        (
            {"topology.schedule": "interleaved_1f1b", "topology.cuts": [3]},
            r"topology\.cuts=\[3\] must list 3 rising",
        ),
        (
            {"trust.budget": -0.1},
            r"trust\.budget=-0\.1 must be a finite number of at least 0 and at most 1",
        ),
        (
            {"trust.budget": 1.1},
            r"trust\.budget=1\.1 must be a finite number of at least 0 and at most 1",
        ),
        (
            {"trust.budget": math.nan},
            r"trust\.budget=nan must be a finite number of at least 0 and at most 1",
        ),
        ({"model._target_": None}, r"model\._target_ is empty"),
        ({"data._target_": ""}, r"data\._target_ is empty"),
        ({"model": {}}, r"model\._target_ is empty"),
        (
            {"model._target_": "mine.py:net"},
            r"model\._target_=mine\.py:net is no dotted name: .* mine\.py is mine\.net",
        ),
        ({"model._target_": "net"}, r"model\._target_=net is no dotted name"),
        ({"data._target_": "/tmp/mine.py"}, r"data\._target_=/tmp/mine\.py is no dotted name"),
        ({"data._target_": "mine.my data"}, r"data\._target_=mine\.my data is no dotted name"),
        ({"model._target_": 3}, r"model\._target_=3 is no dotted name"),
        (
            {"attack._target_": "mine:Attack", "attack.replicas": [0]},
            r"attack\._target_=mine:Attack is no dotted name",
        ),
        ({"topology.cuts": [[1]]}, r"topology\.cuts=\[\[1\]\] must list 1 rising block numbers"),
        ({"data.alpha": "much"}, r"data\.alpha=much is not a number"),
        ({"data.alpha": True}, r"data\.alpha=True is not a number"),
        ({"data.partition": "dirichlet", "data.alpha": None}, r"data\.alpha is empty"),
        (
            {"data.partition": "own", "topology.spares": 1},
            r".*no spare can take its place: set topology\.spares=0, not 1",
        ),
        (
            {"data.partition": "own", "sync.local_steps": None},
            r".*say how many steps a round has, such as sync\.local_steps=20",
        ),
        (
            {"data.partition": "own", "sync.local_steps": 5, "topology.max_replicas": 9},
            r"data\.partition=own: .*, so nobody can join: leave out topology\.max_replicas=9",
        ),
        (
            {"data.partition": "own", "sync.local_steps": 5, "data.scaled": True},
            r"data\.partition=own: .*, by the same numbers for all, and set data\.scaled=false",
        ),
        (
            {"data.shares": ""},
            r"data\.shares= must be the path of a JSON file",
        ),
        (
            {"data.partition": "own", "data.shares": "x.json"},
            r"data\.shares=x\.json and data\.partition=own: leave one of them out",
        ),
        (
            ATTACK | {"attack.replicas": [1], "attack.share_of_rounds": "few"},
            r"attack\.share_of_rounds=few is not a number",
        ),
        ({"attack.from_round": "soon"}, r"attack\.from_round=soon is not a number"),
        (ATTACK, r"attack\.replicas and attack\.nodes are empty"),
        (ATTACK | {"attack.replicas": 3}, r"attack\.replicas=3 must be a list"),
        (ATTACK | {"attack.replicas": 0}, r"attack\.replicas=0 must be a list"),
        (ATTACK | {"attack.nodes": "r0.s1"}, r"attack\.nodes=r0\.s1 must be a list"),
        (
            ATTACK | {"attack.replicas": [1], "attack.nodes": None},
            r"attack\.nodes=None must be a list",
        ),
        (
            ATTACK | {"attack.replicas": [True]},
            r"attack\.replicas names True, but replicas have the numbers 0 to 3",
        ),
        (
            ATTACK | {"attack.replicas": [1, 4]},
            r"attack\.replicas names 4, but replicas have the numbers 0 to 3",
        ),
        (ATTACK | {"attack.replicas": [-1]}, r"attack\.replicas names -1, but"),
        (ATTACK | {"attack.replicas": ["1"]}, r"attack\.replicas names '1', but replicas have"),
        (
            ATTACK | {"attack.nodes": ["r0.s2"]},
            r"attack\.nodes names r0\.s2, but the nodes are r0\.s0 to r3\.s1",
        ),
        (ATTACK | {"attack.nodes": ["r4.s0"]}, r"attack\.nodes names r4\.s0"),
        (ATTACK | {"attack.nodes": ["r0.s0", "spare"]}, r"attack\.nodes names spare,"),
        (ATTACK | {"attack.nodes": ["r0.s0.s1"]}, r"attack\.nodes names r0\.s0\.s1"),
        (ATTACK | {"attack.nodes": [3]}, r"attack\.nodes names 3"),
    ],
    ids=lambda value: re.sub(r"[\\{}']", "", str(value))[:70],
)
def test_a_mistake_is_named(changes, message):
    assert re.match(message, refused_by_check(changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"topology.replicas": 10**8}, "200000001 ranks"),
        ({"topology.spares": 10**6}, "ranks"),
        ({"rounds": 10**400}, "must be a finite number of at least 1"),
        (
            {"sync.local_steps": 10**12},
            "sync.local_steps=1000000000000 must be a finite number of at least 1 and at most",
        ),
        (
            {"sync.timeout": 1e30},
            "sync.timeout=1e+30 must be a finite number of at least 1 and at most",
        ),
        (
            {"train.momentum": 1.0},
            "train.momentum=1.0 must be a finite number of at least 0 and below 1",
        ),
        (
            {"sync.outer_momentum": 2.0},
            "sync.outer_momentum=2.0 must be a finite number of at least 0 and below 1",
        ),
        ({"sync.deadline": 0.0}, "sync.deadline=0.0 must be a finite number above 0"),
        (
            {"trust.budget": math.nan},
            "trust.budget=nan must be a finite number of at least 0 and at most 1",
        ),
        (
            {"trust.budget": -0.1},
            "trust.budget=-0.1 must be a finite number of at least 0 and at most 1",
        ),
        (
            {"trust.budget": 1.5},
            "trust.budget=1.5 must be a finite number of at least 0 and at most 1",
        ),
        ({"rewards.policy": "verified", "trust.budget": 0}, "nothing is (trust.budget=0)"),
        ({"rewards.policy": "verified", "trust.enabled": False}, "(trust.enabled=false)"),
        (
            {"rewards.policy": "verified", "data.partition": "own", "sync.local_steps": 9},
            "rewards.policy=verified pays only for what was repeated, and here nothing is "
            "(data.partition=own): take rewards.policy=work",
        ),
    ],
)
def test_what_would_fill_the_machine_or_switch_a_check_off_is_refused_by_check(changes, message):
    assert message in refused_by_check(changes)


def test_numbers_of_classes_are_not_regressed_on():
    table = ("data=csv", "data.path=x.csv", "data.target=y", "task=regression")
    assert refused(*table, "data.classes=true").startswith("data.classes=true numbers the target's")
    settings.load([*table, "data.classes=[low,high]"])  # in an order that the user gives
