import pytest
import torch

from tdml.attacks import Attack, Knowledge, SignFlip, make_attack
from tdml.attacks.base import acts, attackers
from tdml.errors import SettingError
from tests.attacks.contexts import context, updates


class Mistyped(Attack):
    def corupt(self, update, context):
        return -update


class MistypedInPart(Mistyped):
    def corrupt(self, update, context):
        return -update

    def poison_label(self, labels, context):
        return 0 * labels


class Halves(Attack):
    """A user's own."""

    def __init__(self, times):
        self.times = times

    def corrupt(self, update, context):
        return update / 2**self.times


class NoAttack:
    pass


def test_the_base_class_does_no_harm():
    own, labels, inputs, losses = (
        torch.tensor([1.0]),
        torch.tensor([3]),
        torch.zeros(1, 2),
        torch.tensor([0.5]),
    )
    attack = Attack()
    assert attack.corrupt(own, context()) is own
    assert attack.poison_labels(labels, context()) is labels
    assert attack.poison_inputs(inputs, context()) is inputs
    assert attack.report(losses, 2, context()) is losses
    assert attack.local_steps(7, context()) == 7
    assert not attack.omniscient
    assert not attack.sees_updates


# What they know


def test_knowledge_by_hand():
    known = Knowledge.of(torch.tensor([[1.0, 0.0], [5.0, 0.0]]), attackers=3, every=False)
    assert (known.mean.tolist(), known.std.tolist()) == ([3.0, 0.0], [2.0, 0.0])
    assert (known.honest, known.attackers, known.updates) == (2, 3, None)


def test_every_update_is_known_only_to_those_who_need_it():
    rows = updates(3, 4)
    assert Knowledge.of(rows, 1, every=True).updates is rows


def test_of_no_honest_update_nothing_is_known():
    known = Knowledge.of(torch.empty(0, 3), attackers=2, every=True)
    assert known.mean.tolist() == known.std.tolist() == [0.0] * 3
    assert known.honest == 0


# Who attacks and when


@pytest.mark.parametrize(
    ("replicas", "nodes", "names"),
    [
        ([], [], set()),
        ([2], [], {"r2.s0", "r2.s1"}),
        ([], ["r0.s1"], {"r0.s1"}),
        ([1], ["r1.s0", "r3.s0"], {"r1.s0", "r1.s1", "r3.s0"}),
    ],
)
def test_the_attackers_are_the_named_nodes_and_all_nodes_of_the_named_replicas(
    replicas, nodes, names
):
    settings = {"_target_": "tdml.attacks.SignFlip", "replicas": replicas, "nodes": nodes}
    assert attackers(settings, stages=2) == names


def test_without_an_attack_nobody_attacks():
    assert attackers({"_target_": None, "replicas": [1], "nodes": []}, stages=2) == frozenset()


def test_they_act_from_their_first_round_on():
    settings = {"from_round": 3, "share_of_rounds": 1.0}
    assert [acts(settings, 0, number) for number in range(1, 6)] == [False, False, True, True, True]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_they_act_in_a_share_of_the_rounds(share):
    settings = {"from_round": 1, "share_of_rounds": share}
    rounds = [acts(settings, 5, number) for number in range(1, 2001)]
    assert sum(rounds) / 2000 == pytest.approx(share, abs=4 * (share * (1 - share) / 2000) ** 0.5)
    assert rounds == [acts(settings, 5, number) for number in range(1, 2001)]
    assert rounds != [acts(settings, 6, number) for number in range(1, 2001)]


# How it is made


def settings(target, **arguments):
    return {
        "_target_": target, "replicas": [1], "nodes": [], "from_round": 2, "share_of_rounds": 0.5,
        **arguments,
    }  # fmt: skip


def test_a_users_own_attack():
    attack = make_attack(settings(f"{__name__}.Halves", times=2))
    assert attack.corrupt(torch.tensor([8.0]), context()).tolist() == [2.0]


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("tdml.attacks.Nothing", {}, "tdml.attacks.Nothing cannot be made"),
        ("tdml.attacks.SignFlip", {}, "tdml.attacks.SignFlip cannot be made"),
        (
            "tdml.attacks.SignFlip",
            {"scale": 1.0, "colour": 2},
            "tdml.attacks.SignFlip cannot be made",
        ),
        (
            f"{__name__}.Mistyped",
            {},
            "Mistyped does nothing: it has corupt, and none of local_steps",
        ),
        (
            f"{__name__}.MistypedInPart",
            {},
            "MistypedInPart has poison_label, which nobody calls: is it poison_labels?",
        ),
        (f"{__name__}.NoAttack", {}, "NoAttack must be a subclass of tdml.attacks.Attack"),
    ],
    ids=[
        "unknown",
        "argument missing",
        "unknown argument",
        "mistyped",
        "mistyped in part",
        "no attack",
    ],
)
def test_what_cannot_be_made_is_the_users_mistake(target, arguments, message):
    with pytest.raises(SettingError) as caught:
        make_attack(settings(target, **arguments))
    assert str(caught.value).startswith("attack._target_=")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_the_attack_itself_refuses_is_said_in_its_words():
    with pytest.raises(SettingError, match=r"^attack\.scale=nan is not a number$"):
        make_attack(settings("tdml.attacks.SignFlip", scale=float("nan")))
    assert isinstance(make_attack(settings("tdml.attacks.SignFlip", scale=2)), SignFlip)
