import math

import pytest
import torch
from scipy.stats import kstest, norm

from tdml.attacks import Attack, Context, Gaussian, Knowledge, LabelFlip, MeanShift, SignFlip, ZeroGradient, make_attack
from tdml.attacks.base import attackers
from tdml.attacks.updates import hiding_shift
from tdml.errors import SettingError


class Halves(Attack):
    """A user's own."""

    def __init__(self, times):
        self.times = times

    def corrupt(self, update, context):
        return update / 2**self.times


class NoAttack:
    pass


def updates(rows, coordinates, seed=0):
    return torch.randn(rows, coordinates, generator=torch.Generator().manual_seed(seed))


def context(honest=None, attackers=1, seed=0):
    known = None
    if honest is not None:
        known = Knowledge(honest.mean(dim=0), honest.std(dim=0, correction=0), len(honest), attackers)
    return Context(
        round=1, node="r0.s0", replica=0, stage=0, names=("a",), parameters=2,
        generator=torch.Generator().manual_seed(seed), knowledge=known,
    )  # fmt: skip


# Each attack against its formula


@pytest.mark.parametrize("std", [0.5, 30.0])
def test_gaussian_is_the_honest_mean_and_normal_noise(std):
    honest = updates(3, 20000)
    corrupted = Gaussian(std).corrupt(updates(1, 20000, seed=9)[0], context(honest))
    noise = (corrupted - honest.mean(dim=0)) / std
    assert kstest(noise.numpy(), norm.cdf).pvalue > 0.01
    assert corrupted.dtype == torch.float32


def test_gaussian_draws_from_its_own_generator():
    honest = updates(3, 50)
    attack, own = Gaussian(30.0), torch.zeros(50)
    first, again, other = (attack.corrupt(own, context(honest, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("honest", "attackers"), [(3, 1), (5, 2), (2, 2), (2, 3)])
def test_zero_gradient_makes_the_sum_zero(honest, attackers):
    rows = updates(honest, 50)
    corrupted = ZeroGradient().corrupt(torch.ones(50), context(rows, attackers))
    total = rows.sum(dim=0) + attackers * corrupted
    torch.testing.assert_close(total, torch.zeros(50), atol=1e-5, rtol=0)


def test_mean_shift_by_hand():
    # Mean 3 and 0; standard deviation 2 and 0.
    told = context(torch.tensor([[1.0, 0.0], [5.0, 0.0], [1.0, 0.0], [5.0, 0.0]]), attackers=3)
    assert MeanShift(1.5).corrupt(torch.ones(2), told).tolist() == [0.0, 0.0]
    assert MeanShift(0.0).corrupt(torch.ones(2), told).tolist() == [3.0, 0.0]


def test_mean_shift_finds_the_shift_that_hides():
    honest = updates(26, 30)
    corrupted = MeanShift(None).corrupt(torch.ones(30), context(honest, attackers=24))
    expected = honest.mean(dim=0) - norm.ppf(24 / 26) * honest.std(dim=0, correction=0)
    torch.testing.assert_close(corrupted, expected)


@pytest.mark.parametrize(
    ("honest", "attackers", "quantile"),
    [
        (26, 24, 24 / 26),  # "A Little Is Enough": n = 50, 24 of them attack, so 2 supporters are needed
        (6, 2, 3 / 6),
        (5, 2, 3 / 5),
        (3, 1, 1 / 3),
        (12, 4, 7 / 12),
        (2, 2, 1 / 2),
        (3, 4, 3 / 4),  # no supporter is needed: a quantile of 1 is kept a quarter away
        (1, 0, 1 / 2),
        (2, 0, 1 / 3),  # a quantile of 0 is kept a third away
    ],
)
def test_hiding_shift_is_alies_quantile(honest, attackers, quantile):
    assert hiding_shift(honest, attackers) == pytest.approx(norm.ppf(quantile), abs=1e-9)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_sign_flip_turns_the_own_update_round(scale):
    own = torch.tensor([1.0, -2.0, 0.5])
    assert SignFlip(scale).corrupt(own, context()).tolist() == [-scale, 2 * scale, -0.5 * scale]


def test_label_flip_by_hand():
    attack, labels = LabelFlip(10), torch.tensor([0, 1, 4, 9])
    assert attack.poison_labels(labels, context()).tolist() == [9, 8, 5, 0]
    assert attack.poison_labels(labels, context()).dtype == torch.int64
    own = torch.tensor([1.0])
    assert attack.corrupt(own, context()) is own


def test_the_base_class_does_no_harm():
    own, labels = torch.tensor([1.0]), torch.tensor([3])
    assert Attack().corrupt(own, context()) is own
    assert Attack().poison_labels(labels, context()) is labels


@pytest.mark.parametrize("attack", [Gaussian(30.0), ZeroGradient(), MeanShift(None), SignFlip(2.0)])
def test_what_the_attacker_knows_is_left_as_it_was(attack):
    honest, own = updates(3, 20), updates(1, 20, seed=5)[0]
    told, before = context(honest), own.clone()
    corrupted = attack.corrupt(own, told)
    assert corrupted.shape == own.shape
    assert not torch.equal(corrupted, own)
    assert torch.equal(own, before)
    assert torch.equal(told.knowledge.mean, honest.mean(dim=0))


@pytest.mark.parametrize(
    ("attack", "omniscient"),
    [
        (Gaussian(1.0), True), (ZeroGradient(), True), (MeanShift(None), True), (SignFlip(1.0), False),
        (LabelFlip(10), False), (Halves(1), False),
    ],
)  # fmt: skip
def test_only_those_that_need_it_are_told_of_the_honest(attack, omniscient):
    assert attack.omniscient == omniscient


# Who attacks, and how it is made


@pytest.mark.parametrize(
    ("replicas", "nodes", "names"),
    [
        ([], [], set()),
        ([2], [], {"r2.s0", "r2.s1"}),
        ([], ["r0.s1"], {"r0.s1"}),
        ([1], ["r1.s0", "r3.s0"], {"r1.s0", "r1.s1", "r3.s0"}),
    ],
)
def test_the_attackers_are_the_named_nodes_and_all_nodes_of_the_named_replicas(replicas, nodes, names):
    settings = {"_target_": "tdml.attacks.SignFlip", "replicas": replicas, "nodes": nodes}
    assert attackers(settings, replicas=4, stages=2) == names


def test_without_an_attack_nobody_attacks():
    assert attackers({"_target_": None, "replicas": [1], "nodes": []}, replicas=4, stages=2) == frozenset()


def settings(target, **arguments):
    return {"_target_": target, "replicas": [1], "nodes": [], "from_round": 2, **arguments}


def test_a_users_own_attack():
    attack = make_attack(settings(f"{__name__}.Halves", times=2))
    assert attack.corrupt(torch.tensor([8.0]), context()).tolist() == [2.0]


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("tdml.attacks.Nothing", {}, "tdml.attacks.Nothing cannot be made"),
        ("tdml.attacks.SignFlip", {}, "tdml.attacks.SignFlip cannot be made"),
        ("tdml.attacks.SignFlip", {"scale": 1.0, "colour": 2}, "tdml.attacks.SignFlip cannot be made"),
        (f"{__name__}.NoAttack", {}, "NoAttack must be a subclass of tdml.attacks.Attack"),
    ],
    ids=["unknown", "argument missing", "unknown argument", "no attack"],
)
def test_what_cannot_be_made_is_the_users_mistake(target, arguments, message):
    with pytest.raises(SettingError) as caught:
        make_attack(settings(target, **arguments))
    assert str(caught.value).startswith("attack._target_=")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_alies_own_example():
    assert hiding_shift(honest=26, attackers=24) == pytest.approx(1.43, abs=0.005)
    assert math.isfinite(hiding_shift(honest=1, attackers=9))
