"""Which optimizer a job gets, from settings as a user writes them, and what is refused."""

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.errors import SettingError
from tdml.node.inner import inner_optimizer, set_rate
from tdml.node.optimizer_state import OptimizerState

SHAPES = [torch.Size([3, 2]), torch.Size([3]), torch.Size([3, 2])]


def optimizer_of(*overrides):
    return inner_optimizer(
        settings.load(list(overrides)).train, [nn.Parameter(torch.ones(shape)) for shape in SHAPES]
    )


def test_settings_reach_torchs_own_class():
    found = optimizer_of(
        "train.lr=0.2",
        "train.momentum=0.8",
        "train.weight_decay=0.3",
        "train.optimizer.nesterov=true",
    )
    assert type(found) is torch.optim.SGD
    (group,) = found.param_groups
    assert len(group["params"]) == 3
    for name, value in {"lr": 0.2, "momentum": 0.8, "weight_decay": 0.3, "nesterov": True}.items():
        assert group[name] == value


def test_any_optimizer_of_torch_by_its_name_in_any_case():
    for name, kind in (
        ("adamw", torch.optim.AdamW),
        ("NAdam", torch.optim.NAdam),
        ("RMSprop", torch.optim.RMSprop),
    ):
        assert type(optimizer_of(f"train.optimizer={name}")) is kind
    (group,) = optimizer_of("train=adamw", "+train.optimizer.betas=[0.8,0.95]").param_groups
    assert (tuple(group["betas"]), group["weight_decay"]) == ((0.8, 0.95), 0.01)
    (group,) = optimizer_of("train.optimizer=rmsprop").param_groups
    assert group["momentum"] == 0.9  # train.momentum is for every optimizer that has one


def test_what_is_said_of_the_optimizer_itself_goes_before_what_is_said_of_all():
    (group,) = optimizer_of(
        "train.momentum=0.8", "+train.optimizer.momentum=0.7", "+train.optimizer.weight_decay=0.2"
    ).param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.7, 0.2)


def test_norms_and_biases_may_be_left_out_of_the_decay():
    found = optimizer_of("train.weight_decay=0.3", "train.decay_norms_and_biases=false")
    assert [(len(g["params"]), g["weight_decay"]) for g in found.param_groups] == [
        (2, 0.3),
        (1, 0.0),
    ]
    assert {p.dim() for p in found.param_groups[1]["params"]} == {1}


@pytest.mark.parametrize("kind", ["adam", "adamw"])
@pytest.mark.parametrize("lies", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gradient_lies", [torch.contiguous_format, torch.channels_last])
def test_fused_steps_are_those_of_torchs_default(kind, lies, gradient_lies):
    """However parameters and gradients lie in memory: torch's own fused steps on a processor take
    numbers from the wrong places where the two differ."""
    ours, theirs = (nn.Parameter(many_numbers(0, lies)) for _ in range(2))
    train = settings.load([f"train.optimizer={kind}", "train.lr=0.1"]).train
    optimizers = [inner_optimizer(train, [ours]), inner_optimizer(train, [theirs], fused=False)]
    assert [bool(made.param_groups[0]["fused"]) for made in optimizers] == [True, False]
    for seed in (1, 2, 3):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = many_numbers(seed, gradient_lies)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def many_numbers(seed, lies):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 3, 5, 5, generator=generator).to(memory_format=lies)


def test_what_lies_in_memory_with_gaps_is_not_fused():
    gaps = nn.Parameter(torch.ones(4, 6)[:, ::2])
    (group,) = inner_optimizer(settings.load(["train=adamw"]).train, [gaps]).param_groups
    assert not group["fused"]


@pytest.mark.parametrize(
    "chosen", ["fused=false", "foreach=true", "foreach=false", "capturable=true"]
)
def test_a_user_may_choose_how_steps_are_computed(chosen):
    (group,) = optimizer_of("train=adamw", f"+train.optimizer.{chosen}").param_groups
    name, value = chosen.split("=")
    assert group[name] == (value == "true")
    assert not group["fused"]


class Own(torch.optim.SGD):
    """A user's."""

    def __init__(self, params, lr, damping=0.0, keep=None):
        super().__init__(params, lr=lr, dampening=damping)
        self.keep, self.steps, self.past = keep, 0, {"means": [torch.zeros(1)]}

    def step(self):
        super().step()
        self.steps += self.keep == "count"
        self.past["means"][0] += self.keep == "mean"
        if self.keep == "late":
            self.late = True
        for group in self.param_groups:
            group["lr"] = 2.0 if self.keep == "group" else group["lr"]
        for parameter in self.param_groups[0]["params"]:
            if self.keep == "list":
                self.state[parameter]["past"] = [1.0]
            if self.keep == "all":
                self.state["all"]["past"] = torch.ones(1)


OWN = f"train.optimizer={__name__}.Own"


def test_an_optimizer_of_ones_own():
    found = optimizer_of(OWN, "train.optimizer.damping=0.5", "train.lr=0.2")
    assert (type(found).__name__, found.defaults["lr"], found.defaults["dampening"]) == (
        "Own",
        0.2,
        0.5,
    )


def test_what_an_optimizer_of_ones_own_holds_and_leaves_alone_is_no_state():
    train = settings.load([OWN]).train
    assert OptimizerState(train, SHAPES, torch.device("cpu")).size == 0


class TwoRates(torch.optim.SGD):
    """Vectors learn ten times as fast."""

    def __init__(self, params, lr):
        params = list(params)
        groups = {
            rate: [p for p in params if (p.dim() == 1) == (rate > lr)] for rate in (lr, 10 * lr)
        }
        super().__init__([{"params": those, "lr": rate} for rate, those in groups.items()], lr=lr)


class OwnRate(torch.optim.SGD):
    """Knows its rate by itself."""

    def __init__(self, params):
        super().__init__(params, lr=0.5)


def test_groups_of_an_optimizer_keep_their_shares_of_the_rate():
    found = optimizer_of(f"train.optimizer._target_={__name__}.TwoRates", "train.lr=0.2")
    for lr in (0.2, 0.05):
        set_rate(found, lr)
        assert [group["lr"] for group in found.param_groups] == [lr, pytest.approx(10 * lr)]


def test_one_rate_is_that_of_the_schedule():
    own = optimizer_of(f"train.optimizer._target_={__name__}.OwnRate")
    for optimizer in (own, optimizer_of("train.lr=0.3"), optimizer_of("train.optimizer=adagrad")):
        set_rate(optimizer, 0.1)
        assert {group["lr"] for group in optimizer.param_groups} == {0.1}


class PassesOn(torch.optim.SGD):
    def __init__(self, params, **more):
        super().__init__(params, **more)


class PassesOnTwice(PassesOn):
    def __init__(self, *params, **more):
        super().__init__(*params, **more)


@pytest.mark.parametrize("kind", ["PassesOn", "PassesOnTwice"])
def test_an_optimizer_that_passes_its_arguments_on_is_given_what_those_take_that_it_derives_from(
    kind,
):
    (group,) = optimizer_of(
        f"train.optimizer._target_={__name__}.{kind}",
        "train.momentum=0.8",
        "train.lr=0.2",
        "train.weight_decay=0.1",
    ).param_groups
    assert [group[name] for name in ("lr", "momentum", "weight_decay")] == [0.2, 0.8, 0.1]


def no_optimizer(params, lr):
    return list(params)


REFUSED = {
    "train.optimizer=sdg is unknown: choose one of adadelta, .*, sgd,": ["train.optimizer=sdg"],
    "train.optimizer=sgd cannot be used: .*'nesterof'.*'~train.optimizer.nesterof'": ["train.optimizer.nesterof=1"],
    "train.optimizer=adamw cannot be used: .*nvalid beta": ["train.optimizer=adamw", "train.optimizer.betas=[2,3]"],
    "train.optimizer=sgd cannot be used: nesterov=off must be true": ["train.optimizer.nesterov=off"],
    "train.optimizer=adam cannot be used: amsgrad=no must be true or": ["train.optimizer=adam", "train.optimizer.amsgrad=no"],
    "train.optimizer=muon cannot be used: .*2D": ["train.optimizer=muon"],
    "train.optimizer=nowhere.Opt cannot be used: ": ["train.optimizer._target_=nowhere.Opt"],
    "train.optimizer=builtins.max cannot be used: no signature": ["train.optimizer._target_=builtins.max"],
    "train.optimizer=.* returned list: it must return a torch": [f"train.optimizer={__name__}.no_optimizer"],
    "train.optimizer.lr is set for every step: give it as train.lr": ["+train.optimizer.lr=1"],
    "train.optimizer has no name: ": ["train.optimizer=null"],
    "train.weight_decay=0.1: rprop has none: set": ["train.optimizer=rprop", "train.weight_decay=0.1"],
    "train.optimizer=lbfgs is unknown: choose one of .*rprop, sgd, or": ["train.optimizer=lbfgs"],
    "train.optimizer=torch.optim.LBFGS takes a closure, .*needs no argument": [
        "train.optimizer=torch.optim.LBFGS"
    ],
    "train.optimizer=torch.optim.SparseAdam cannot be used: .*dense gradients": [
        "train.optimizer=torch.optim.SparseAdam"
    ],
    "train.optimizer keeps past, a list, of its parameters: ": [OWN, "train.optimizer.keep=list"],
    "train.optimizer=.*Own keeps something beside the state of single parameters": [OWN, "train.optimizer.keep=all"],
    "train.optimizer=.*Own keeps something beside the state of": [OWN, "train.optimizer.keep=count"],
    "train.optimizer=.*Own keeps something beside the state": [OWN, "train.optimizer.keep=mean"],
    "train.optimizer=.*Own keeps something beside": [OWN, "train.optimizer.keep=late"],
    "train.optimizer=.*Own keeps something beside the state of single": [OWN, "train.optimizer.keep=group"],
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_work_is_refused_in_one_line(message):
    with pytest.raises(SettingError, match=f"^{message}"):
        OptimizerState(settings.load(REFUSED[message]).train, SHAPES, torch.device("cpu"))
