from dataclasses import replace

import pytest
import torch

from tdml import config as settings
from tdml.round.outer import FedAvg, Nesterov, outer_optimizer

SIZES, PARAMETERS = (7, 4, 3), (5, 4, 0)  # three stages: with buffers, without, with nothing else


def vectors(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=generator) for size in SIZES]


@pytest.mark.parametrize(("lr", "momentum"), [(0.7, 0.9), (1.0, 0.5), (0.1, 0.99)])
def test_nesterov_is_torchs_sgd_on_the_outer_gradient(lr, momentum):
    weights, ours = vectors(0), Nesterov(lr, momentum)
    theirs = [
        weight[:count].clone().requires_grad_()
        for weight, count in zip(weights, PARAMETERS, strict=True)
    ]
    sgd = torch.optim.SGD(theirs, lr=lr, momentum=momentum, nesterov=True)
    for seed in range(1, 6):
        updates = vectors(seed)
        weights = ours.step(weights, updates, PARAMETERS)
        for parameter, update in zip(theirs, updates, strict=True):
            parameter.grad = -update[: len(parameter)]
        sgd.step()
        for weight, parameter in zip(weights, theirs, strict=True):
            torch.testing.assert_close(
                weight[: len(parameter)], parameter.detach(), rtol=1e-6, atol=1e-6
            )


def test_nesterov_by_hand():
    # v = 2, w = 1 + 0.5·(2 + 0.5·2) = 2.5; then v = 0.5·2 + 4 = 5, w = 2.5 + 0.5·(4 + 0.5·5) =
    # 5.75.
    outer = Nesterov(lr=0.5, momentum=0.5)
    (first,) = outer.step([torch.tensor([1.0])], [torch.tensor([2.0])], [1])
    (second,) = outer.step([first], [torch.tensor([4.0])], [1])
    assert (first.item(), second.item()) == (2.5, 5.75)


def test_fedavg_adds_the_mean_update():
    weights, updates = vectors(0), vectors(1)
    stepped = FedAvg().step(weights, vectors(1), PARAMETERS)
    for new, weight, update in zip(stepped, weights, updates, strict=True):
        assert torch.equal(new, weight + update)


@pytest.mark.parametrize("outer", [FedAvg(), Nesterov(0.7, 0.9)])
def test_buffers_are_averaged_whatever_the_rule(outer):
    weights = vectors(0)
    for seed in (1, 2):
        updates = vectors(seed)
        stepped = outer.step(weights, vectors(seed), PARAMETERS)
        for new, weight, update, count in zip(stepped, weights, updates, PARAMETERS, strict=True):
            assert torch.equal(new[count:], weight[count:] + update[count:])
        weights = stepped


@pytest.mark.parametrize("outer", [FedAvg(), Nesterov(0.7, 0.9)])
def test_the_weights_are_left_as_they_were(outer):
    weights = vectors(0)
    outer.step(weights, vectors(1), PARAMETERS)
    outer.step(weights, vectors(1), PARAMETERS)
    assert all(torch.equal(now, before) for now, before in zip(weights, vectors(0), strict=True))


@pytest.mark.parametrize("make", [FedAvg, lambda: Nesterov(0.7, 0.9)], ids=["fedavg", "nesterov"])
def test_the_state_is_all_that_the_next_step_needs(make):
    outer, resumed, weights = make(), make(), vectors(0)
    for seed in (1, 2):
        weights = outer.step(weights, vectors(seed), PARAMETERS)
    resumed.restore([tensor.clone() for tensor in outer.state()])
    for seed in (3, 4):
        expected = outer.step(weights, vectors(seed), PARAMETERS)
        found = resumed.step(weights, vectors(seed), PARAMETERS)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
        weights = expected


def test_the_setting_names_the_rule():
    sync = settings.load(["sync=nesterov", "sync.outer_lr=0.3", "sync.outer_momentum=0.8"]).sync
    nesterov = outer_optimizer(sync)
    assert isinstance(nesterov, Nesterov)
    assert (nesterov.lr, nesterov.momentum) == (0.3, 0.8)
    assert isinstance(outer_optimizer(replace(sync, outer="fedavg")), FedAvg)
