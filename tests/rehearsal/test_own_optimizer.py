"""What a rehearsal finds in optimizers that are made of a stage's parameters alone."""

import pytest
import torch

from tdml.errors import SettingError
from tests.rehearsal.rehearsals import through
from tests.rehearsal.whole_users import plain

HERE, USERS = __name__, "tests.rehearsal.whole_users"


class Normed(torch.optim.Optimizer):
    """Brings the gradient of all its parameters to a norm of 1."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            there = [p for p in group["params"] if p.grad is not None]
            norm = torch.stack([p.grad.norm() for p in there]).norm()
            for parameter in there:
                parameter.sub_(parameter.grad / norm, alpha=group["lr"])


class Deeper(torch.optim.SGD):
    """Later layers learn faster."""

    def __init__(self, params, lr):
        parameters = list(params)
        super().__init__(
            [{"params": [p], "lr": lr * (1 + i)} for i, p in enumerate(parameters)], lr=lr
        )


class Biases(torch.optim.SGD):
    """Biases learn ten times as fast, and those that are marked not at all."""

    def __init__(self, params, lr):
        parameters = list(params)
        rates = [lr * (10 if p.dim() == 1 else 1) * getattr(p, "rate", 1) for p in parameters]
        super().__init__(
            [{"params": [p], "lr": r} for p, r in zip(parameters, rates, strict=True)], lr=lr
        )


class Noisy(torch.optim.SGD):
    @torch.no_grad()
    def step(self):
        super().step()
        for parameter in self.param_groups[0]["params"]:
            parameter.add_(torch.randn_like(parameter))


class Jittery(torch.optim.SGD):
    """Draws once for all its parameters: each stage does, and the whole model once."""

    @torch.no_grad()
    def step(self):
        super().step()
        jitter = torch.randn(())
        for parameter in self.param_groups[0]["params"]:
            parameter.add_(jitter)


@pytest.mark.parametrize("optimizer", ["Normed", "Deeper"])
def test_an_optimizer_that_looks_at_several_parameters_is_refused_where_they_are_parted(optimizer):
    told = rf"train.optimizer=.*{optimizer}: the step of .* a node has those of its stage alone"
    chosen = {"target": f"{USERS}.plain", "optimizer": f"{HERE}.{optimizer}"}
    with pytest.raises(SettingError, match=told):
        through(cuts=(2,), **chosen)
    assert through(stages=1, **chosen) == ""


def marked():
    model = plain()
    model[2].bias.rate = 0
    return model


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_an_optimizer_that_looks_at_single_parameters_is_not_accused(stages, clip_norm):
    """At their form, and at what its user has marked them with."""
    chosen = {"target": f"{HERE}.marked", "optimizer": f"{HERE}.Biases"}
    assert through(cuts=(2,), stages=stages, clip_norm=clip_norm, **chosen) == ""


@pytest.mark.parametrize("optimizer", ["Noisy", "Jittery"])
def test_an_optimizer_that_draws_is_not_accused_of_anything_else(optimizer):
    chosen = {"target": f"{USERS}.plain", "optimizer": f"{HERE}.{optimizer}"}
    assert "the optimizer draw at random" in through(cuts=(2,), repeatable="warn", **chosen)


def test_a_model_that_hides_parameters_from_its_optimizer_is_refused():
    with pytest.raises(SettingError, match=r"its parameters\(\) leaves out 0.weight, and nodes"):
        through(cuts=(2,), target=f"{USERS}.OnlyHead")
