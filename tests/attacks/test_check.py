"""Attacks that would do nothing in a job, or end their own node, are refused before it begins."""

import re

import pytest
import torch

from tdml.attacks.base import check_attack, held_stages, honest_stages
from tdml.config import load
from tdml.errors import SettingError
from tests.attacks.contexts import victim

_FIRST, _LAST = (frozenset({0}),), (frozenset({1}),)
_TOKENS = {
    "inputs": torch.zeros(4, 16, dtype=torch.int64), "labels": None, "outputs": 64,
}  # fmt: skip
_NUMBERS = {"inputs": torch.zeros(4, dtype=torch.int64), "labels": None}
_COVERED = "attack.attack={_target_: tdml.attacks.LabelFlip, num_classes: 3}"


def check(overrides, **changes):
    config = load([f"attack={overrides[0]}", *overrides[1:], "attack.replicas=[3]"])
    check_attack(config.attack, victim(**changes))


@pytest.mark.parametrize(
    ("overrides", "changes", "message"),
    [
        (["label_flip"], {"labels": None}, "attack.num_classes=10: the data has no classes"),
        (["label_flip"], {"labels": 11}, "attack.num_classes=10: the data has 11 classes"),
        (["label_flip"], {"held": _FIRST}, "attack.nodes: labels are at the last stage: name a"),
        (["lying_validator", _COVERED], {}, "attack.num_classes=3: the data has 10 classes"),
        (["backdoor", "attack.target=10"], {}, "attack.target=10: the model tells 10 classes"),
        (["backdoor"], {"inputs": torch.zeros(4, 5)}, "attack.size=3: a sample is (5,), which is"),
        (["backdoor", "attack.size=9"], {}, "attack.size=9: a sample is (3, 8, 8), which is no"),
        (["backdoor"], {"held": _FIRST + _LAST}, "attack.nodes: images are at the first stage"),
        (["half_work"], {"held": _FIRST + _LAST}, "attack.nodes: only a replica whose nodes all"),
        (["single_layer", "attack.layer=[0]"], {}, "attack.layer=[0] is not a number"),
        (["single_layer", "attack.layer=wieght"], {}, "attack.layer=wieght: no stage of an"),
        (["single_layer", "attack.layer=1"], {"held": _LAST}, "attack.layer=1: no stage of an"),
        (
            ["gaussian"],
            {"honest": frozenset()},
            "attack._target_=tdml.attacks.Gaussian goes by what",
        ),
        (
            ["mimic"],
            {"held": _LAST, "honest": _FIRST[0]},
            "attack._target_=tdml.attacks.Mimic goes",
        ),
        (["buffer_poison"], {"held": _LAST}, "attack=buffer_poison: no stage of an attacker has"),
        (["stage_backdoor"], {}, "attack=stage_backdoor is made on models of tokens"),
        (["stage_backdoor"], {"labels": None}, "attack=stage_backdoor is made on models of"),
        (["stage_backdoor"], _NUMBERS, "attack=stage_backdoor is made on models of"),
        (["stage_backdoor", "attack.trigger=64"], _TOKENS, "attack.trigger=64 must be between"),
        (["stage_backdoor", "attack.target=64"], _TOKENS, "attack.target=64 must be between"),
        (["stage_backdoor", "attack.tokens=17"], _TOKENS, "attack.tokens=17 must be between"),
    ],
    ids=lambda value: re.sub(r"[^\w=.]", "", str(value))[:30],
)
def test_what_would_attack_nothing_is_a_mistake(overrides, changes, message) -> None:
    with pytest.raises(SettingError) as caught:
        check(overrides, **changes)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        (["label_flip"], {"held": _LAST}),
        (["lying_validator"], {"labels": None}),
        (["backdoor"], {}),
        (["half_work"], {"honest": frozenset()}),
        (["buffer_poison"], {"held": _LAST + _FIRST}),
        (["gaussian"], {"held": _FIRST + _LAST, "honest": _LAST[0]}),
        (["single_layer"], {"held": _LAST}),
        (["single_layer", "attack.layer=weight"], {"held": _LAST}),
        (["single_layer", "attack.layer=1"], {}),
        (["stage_backdoor", "attack.tokens=16", "attack.trigger=63"], _TOKENS | {"held": _FIRST}),
    ],
    ids=lambda value: re.sub(r"[^\w=.]", "", str(value))[:30],
)
def test_what_attacks_something_passes(overrides, changes) -> None:
    check(overrides, **changes)


@pytest.mark.parametrize(
    ("named", "held"),
    [
        ({"replicas": [1]}, [{0, 1, 2}]),
        ({"nodes": ["r1.s0", "r1.s2"]}, [{0, 2}]),
        ({"nodes": ["r10.s2", "r1.s0"]}, [{0}, {2}]),
        ({"nodes": ["spare3"]}, [{0}, {1}, {2}]),
        ({"nodes": ["r1.s0", "spare3"]}, [{0}, {0}, {1}, {2}]),
    ],
)
def test_the_stages_that_attackers_hold(named, held) -> None:
    settings = {"_target_": "tdml.attacks.SignFlip", "replicas": [], "nodes": []} | named
    assert sorted(held_stages(settings, stages=3), key=sorted) == held


@pytest.mark.parametrize(
    ("named", "more", "honest"),
    [
        ({"replicas": [0, 1]}, [], set()),
        ({"replicas": [0, 1]}, ["topology.max_replicas=3"], {0, 1}),
        ({"replicas": [0], "nodes": ["r1.s1", "spare0"]}, [], {0}),
    ],
)
def test_the_stages_that_somebody_honest_holds(named, more, honest) -> None:
    settings = {"_target_": "tdml.attacks.Gaussian", "replicas": [], "nodes": []} | named
    topology = load(["topology.replicas=2", "topology.stages=2", *more]).topology
    assert honest_stages(settings, topology) == honest
