import math

import pytest
import torch
from scipy.stats import kstest, norm

from tdml.attacks import (
    BufferPoison,
    Gaussian,
    HonestNoise,
    InnerProduct,
    MeanShift,
    Mimic,
    Scaled,
    SignFlip,
    SingleLayer,
    ZeroGradient,
)
from tdml.attacks.updates import hiding_shift
from tests.attacks.contexts import context, updates


def looks_normal(values):
    return kstest(values.numpy(), norm.cdf).pvalue > 0.01


@pytest.mark.parametrize("std", [0.5, 30.0])
def test_gaussian_is_the_honest_mean_and_normal_noise(std):
    honest = updates(3, 20000)
    corrupted = Gaussian(std).corrupt(updates(1, 20000, seed=9)[0], context(honest))
    assert looks_normal((corrupted - honest.mean(dim=0)) / std)
    assert corrupted.dtype == torch.float32


@pytest.mark.parametrize(
    "attack", [Gaussian(30.0), InnerProduct(0.1, 1.0), HonestNoise(0.5), SingleLayer(None, 10.0)]
)
def test_noise_is_drawn_from_the_nodes_own_generator(attack):
    honest, own = updates(3, 50), torch.zeros(50)
    first, again, other = (
        attack.corrupt(own, context(honest, seed=seed, sizes=(50,), parameters=50))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("honest", "attackers"), [(3, 1), (5, 2), (2, 2), (2, 3)])
def test_zero_gradient_makes_the_sum_zero(honest, attackers):
    rows = updates(honest, 50)
    corrupted = ZeroGradient().corrupt(torch.ones(50), context(rows, attackers))
    total = rows.sum(dim=0) + attackers * corrupted
    torch.testing.assert_close(total, torch.zeros(50), atol=1e-5, rtol=0)


# A little is enough


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
        (
            26,
            24,
            24 / 26,
        ),  # "A Little Is Enough": n = 50, 24 of them attack, so 2 supporters are needed
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


def test_alies_own_example():
    assert hiding_shift(honest=26, attackers=24) == pytest.approx(1.43, abs=0.005)
    assert math.isfinite(hiding_shift(honest=1, attackers=9))


# Inner product and noise


@pytest.mark.parametrize("epsilon", [0.1, 3.0])
def test_inner_product_is_the_honest_mean_turned_round(epsilon):
    honest = updates(4, 30)
    corrupted = InnerProduct(epsilon, 0.0).corrupt(torch.ones(30), context(honest))
    torch.testing.assert_close(corrupted, -epsilon * honest.mean(dim=0))


def test_jitter_is_a_share_of_the_honest_spread():
    honest = updates(4, 20000)
    corrupted = InnerProduct(0.1, 0.5).corrupt(torch.ones(20000), context(honest))
    assert looks_normal(
        (corrupted + 0.1 * honest.mean(dim=0)) / (0.5 * honest.std(dim=0, correction=0))
    )


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_honest_noise_is_as_large_as_the_honest_differ(bias):
    honest = updates(5, 20000) + 0.3
    corrupted = HonestNoise(bias).corrupt(torch.ones(20000), context(honest))
    in_spreads = corrupted / honest.std(dim=0, correction=0)
    assert looks_normal(in_spreads + bias * honest.mean(dim=0).sign())


# One layer, one peer


SHARD = {
    "names": ("0.conv.weight", "0.conv.bias", "1.bn.weight"),
    "sizes": (3, 4000, 2),
    "parameters": 4005,
}


@pytest.mark.parametrize("layer", [None, 1, "conv.bias", "bias"])
def test_a_single_layer_is_attacked(layer):
    honest, own = updates(4, 4005) + 7, updates(1, 4005, seed=9)[0]
    corrupted = SingleLayer(layer, 10.0).corrupt(own, context(honest, **SHARD))
    noise = (corrupted - honest.mean(dim=0)) / (10 * honest.std(dim=0, correction=0))
    assert looks_normal(noise[3:4003])
    assert torch.equal(corrupted[:3], own[:3])
    assert torch.equal(corrupted[4003:], own[4003:])


def test_the_first_layer_of_that_name_is_attacked():
    own = torch.zeros(4005)
    corrupted = SingleLayer("weight", 1.0).corrupt(own, context(updates(4, 4005), **SHARD))
    assert corrupted[:3].all()
    assert not corrupted[3:].any()


@pytest.mark.parametrize("layer", [3, "fc.weight"])
def test_a_shard_without_that_layer_stays_honest(layer):
    own = torch.ones(4005)
    assert SingleLayer(layer, 10.0).corrupt(own, context(updates(4, 4005), **SHARD)) is own


def test_a_shard_without_tensors_stays_honest():
    nothing = context(torch.empty(3, 0), names=(), sizes=(), parameters=0)
    assert SingleLayer(None, 10.0).corrupt(torch.empty(0), nothing).numel() == 0


@pytest.mark.parametrize(("target", "row"), [(0, 0), (2, 2), (9, 3)])
def test_mimic_copies_one_honest_replica(target, row):
    honest = updates(4, 20)
    assert torch.equal(Mimic(target).corrupt(torch.ones(20), context(honest)), honest[row])


def test_with_nobody_to_mimic_the_own_update_is_left():
    own = torch.ones(3)
    assert Mimic(0).corrupt(own, context(torch.empty(0, 3))) is own


# The own update, changed


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_sign_flip_turns_the_own_update_round(scale):
    own = torch.tensor([1.0, -2.0, 0.5])
    assert SignFlip(scale).corrupt(own, context()).tolist() == [-scale, 2 * scale, -0.5 * scale]


def test_a_scaled_update_replaces_the_model():
    own, converged = torch.tensor([1.0, -2.0]), [torch.zeros(2)] * 9
    corrupted = Scaled(10.0).corrupt(own, context())
    assert (torch.stack([corrupted, *converged]).mean(dim=0)).tolist() == own.tolist()


def test_poisoned_buffers_rise_whichever_way_they_were_going():
    own = torch.tensor([1.0, -1.0, 2.0, -0.5, 0.0])
    corrupted = BufferPoison(10.0).corrupt(own, context(parameters=2))
    assert corrupted.tolist() == [1.0, -1.0, 22.0, 4.5, 0.0]
    assert torch.equal(BufferPoison(10.0).corrupt(own, context(parameters=5)), own)


# What all have in common

ALL = [
    Gaussian(30.0), ZeroGradient(), MeanShift(None), InnerProduct(0.1, 0.1), HonestNoise(0.5),
    SingleLayer(None, 10.0), Mimic(0), SignFlip(2.0), Scaled(10.0), BufferPoison(10.0),
]  # fmt: skip


@pytest.mark.parametrize("attack", ALL, ids=lambda attack: type(attack).__name__)
def test_what_the_attacker_knows_is_left_as_it_was(attack):
    honest, own = updates(3, 20), updates(1, 20, seed=5)[0]
    told, before, theirs = context(honest, sizes=(20,), parameters=12), own.clone(), honest.clone()
    corrupted = attack.corrupt(own, told)
    assert (corrupted.shape, corrupted.dtype) == (own.shape, torch.float32)
    assert not torch.equal(corrupted, own)
    assert torch.equal(own, before)
    assert torch.equal(honest, theirs)
    assert torch.equal(told.knowledge.mean, honest.mean(dim=0))


@pytest.mark.parametrize("attack", ALL, ids=lambda attack: type(attack).__name__)
def test_only_those_that_need_it_are_told_of_the_honest(attack):
    assert attack.omniscient == (type(attack) not in (SignFlip, Scaled, BufferPoison))
    assert attack.sees_updates == (type(attack) is Mimic)
