"""Steps taken again from a kept state: the same bits as without the interruption."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tdml import config as settings
from tdml.common.seeds import seeded
from tdml.models.layout import Layout
from tdml.models.split import Part
from tdml.node.inner import inner_optimizer
from tdml.node.state import StateLayout
from tdml.node.trainer import Trainer
from tests.node.stages import Centred

TRAIN = settings.load([]).train
BATCH, STEPS, LR = 4, 6, 0.05


class Recalls(torch.optim.Optimizer):
    """Keeps numbers of Python's, a double, and from its second step on a tensor of another
    shape."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, group["lr"])

    def _step(self, parameter, lr):
        kept = self.state[parameter]
        kept["steps"] = kept.get("steps", 0) + 1
        kept["share"] = kept.get("share", 1.0) / 3
        kept["odd"] = not kept.get("odd", False)
        kept["norms"] = (
            kept.get("norms", torch.zeros(2, dtype=torch.float64)) / 7
            + parameter.grad.double().norm()
        )
        if kept["steps"] > 1:
            kept["late"] = kept.get("late", torch.ones(1, 2)) * 1.1
        size = (
            kept["share"] * kept["odd"]
            + kept["norms"][1] / kept["steps"]
            + kept.get("late", torch.zeros(1)).sum()
        )
        parameter.sub_(lr * parameter.grad * size)


def trained_by(optimizer, **settings):
    own = {
        name: settings.pop(name)
        for name in set(settings) - {"momentum", "weight_decay", "decay_norms_and_biases"}
    }
    return replace(TRAIN, optimizer={"_target_": optimizer, **own}, lr=LR, **settings)


OPTIMIZERS = {
    "plain": trained_by("sgd", momentum=0.0),
    "momentum": trained_by("SGD", momentum=0.9),
    "decay": trained_by("sgd", momentum=0.9, weight_decay=0.1),
    "nesterov": trained_by("sgd", nesterov=True, weight_decay=0.1, decay_norms_and_biases=False),
    "adam": trained_by("adam", weight_decay=0.1, amsgrad=True),
    "adamw": trained_by("adamw", weight_decay=0.1, betas=[0.8, 0.9], decay_norms_and_biases=False),
    **{
        name: trained_by(name)
        for name in ("adafactor", "adadelta", "adagrad", "adamax", "asgd", "nadam", "radam")
    },
    "rprop": trained_by("rprop", etas=[0.4, 1.3]),
    "rmsprop": trained_by("rmsprop", centered=True),
    "own": trained_by(f"{__name__}.Recalls"),
}


class HalfUsed(nn.Linear):
    """Has a parameter that no gradient ever reaches."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.unused = nn.Parameter(torch.ones(3))


class LateBias(nn.Linear):
    """Its bias takes part from the fourth step on only."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        late = self.calls > 3 * 2  # two micro-batches a step
        return F.linear(value, self.weight, self.bias if late else None)


MODELS = {
    "batch norm": lambda: nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
    ),
    "dropout": lambda: nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)),
    "replaced buffer": lambda: nn.Sequential(nn.Linear(5, 8), Centred(8), nn.Linear(8, 3)),
    "half used": lambda: nn.Sequential(nn.Linear(5, 8), HalfUsed(8, 3)),
    "late bias": lambda: nn.Sequential(nn.Linear(5, 8), LateBias(8, 3)),
}


class Loop:
    """A trainer of a model in one piece, whose steps are those of a plain loop over two
    micro-batches."""

    def __init__(self, make, train):
        with torch.device("meta"):
            model = make()
        part = Part(model, 0, len(model))
        part.materialise(torch.device("cpu"))
        self.module, self.layout = part.module, Layout.of([part])

        def tensors():
            return part.tensors(part.parameters) + part.tensors(part.buffers)

        self.trainer = Trainer(self.layout, tensors, train, None, keeps=False)

    def step(self, inputs, labels, seed, lr):
        """The loss of a batch."""
        self.trainer.clear()
        losses = []
        with seeded(seed):
            for value, right in zip(inputs.chunk(2), labels.chunk(2), strict=True):
                losses.append(F.cross_entropy(self.module(value), right))
                (losses[-1] / 2).backward()
        self.trainer.update(lr)
        return float(torch.stack(losses).detach().mean())


def loop_of(make, train):
    """A loop, and initial weights."""
    loop = Loop(make, train)
    torch.manual_seed(1)
    real = make()
    return loop, loop.layout.flatten([*real.parameters(), *real.buffers()])


def batch(step):
    generator = torch.Generator().manual_seed(step)
    return torch.randn(BATCH, 5, generator=generator), torch.randint(
        3, (BATCH,), generator=generator
    )


def take(loop, steps):
    return [loop.step(*batch(step), 100 + step, LR) for step in steps]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_resuming_changes_no_bit(model, optimizer):
    loop, initial = loop_of(MODELS[model], OPTIMIZERS[optimizer])
    trainer, layout = loop.trainer, loop.layout
    trainer.begin(initial)
    states, losses = [trainer.state()], []
    for step in range(STEPS):
        losses += take(loop, [step])
        states.append(trainer.state())
    assert {s.shape for s in states} == {(StateLayout(layout, OPTIMIZERS[optimizer]).size,)}
    assert not torch.equal(states[-1], states[-2])
    again, _ = loop_of(MODELS[model], OPTIMIZERS[optimizer])
    other = again.trainer
    for first, last in [(0, 1), (1, STEPS), (2, 4), (3, STEPS), (5, STEPS)]:
        other.resume(states[first])
        assert torch.equal(other.state(), states[first])
        assert take(again, range(first, last)) == losses[first:last]
        assert torch.equal(other.state(), states[last]), (first, last)
        assert torch.equal(other.weights(), states[last][: layout.size])


def test_another_seed_of_a_step_is_another_dropout():
    loop, initial = loop_of(MODELS["dropout"], OPTIMIZERS["plain"])
    trainer = loop.trainer
    ends = []
    for seed in (1, 1, 2):
        trainer.begin(initial)
        loop.step(*batch(0), seed, LR)
        ends.append(trainer.state())
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_beginning_forgets_the_optimizer():
    loop, initial = loop_of(MODELS["batch norm"], OPTIMIZERS["momentum"])
    trainer = loop.trainer
    ends = []
    for _ in range(2):
        trainer.begin(initial)
        take(loop, range(2))
        ends.append(trainer.state())
    assert torch.equal(*ends)


def test_a_state_is_a_copy():
    loop, initial = loop_of(MODELS["batch norm"], OPTIMIZERS["momentum"])
    trainer = loop.trainer
    trainer.begin(initial)
    take(loop, range(2))
    kept = trainer.state()
    before = kept.clone()
    take(loop, range(2, 4))
    assert torch.equal(kept, before)
    trainer.resume(kept)
    take(loop, range(2, 4))
    assert torch.equal(kept, before)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_size_of_the_state_is_what_the_optimizer_keeps(optimizer):
    """Counted from torch's own state after two steps in which every parameter took part."""
    loop, initial = loop_of(MODELS["batch norm"], OPTIMIZERS[optimizer])
    trainer, layout = loop.trainer, loop.layout
    torch.manual_seed(1)
    model = MODELS["batch norm"]()
    plain = inner_optimizer(OPTIMIZERS[optimizer], model.parameters())
    F.cross_entropy(model(batch(0)[0]), batch(0)[1]).backward()
    plain.step()
    plain.step()
    kept = [np.asarray(value) for slots in plain.state.values() for value in slots.values()]
    expected = sum(t.numel() for t in (*model.parameters(), *model.buffers()))
    # 1: that it is kept
    expected += sum(1 + value.size * (3 if value.dtype == np.float64 else 1) for value in kept)
    assert StateLayout(layout, OPTIMIZERS[optimizer]).size == expected
    trainer.begin(initial)
    assert trainer.state().shape == (expected,)


def test_a_stage_without_parameters_has_no_optimizer():
    assert inner_optimizer(TRAIN, []) is None
    train = OPTIMIZERS["adam"]
    nothing = Layout(names=(), shapes=(), parameters=0, size=0, parameter_tensors=0)
    assert StateLayout(nothing, train).size == 0
    trainer = Trainer(nothing, list, train, None, keeps=False)
    trainer.begin(torch.empty(0))
    trainer.update(LR)
    assert trainer.state().shape == (0,)
    trainer.resume(torch.empty(0))
    trainer.update(LR)


def test_a_buffer_may_hold_numbers_that_torch_cannot_compare():
    def with_a_table():
        layer = nn.Linear(5, 3)
        layer.register_buffer("table", torch.tensor([7, 2**16 - 1], dtype=torch.uint16))
        return nn.Sequential(layer)

    loop, initial = loop_of(with_a_table, OPTIMIZERS["plain"])
    loop.trainer.begin(initial)
    take(loop, range(2))
    assert loop.trainer.weights()[-2:].tolist() == [7, 2**16 - 1]


class DrawsEverywhere(nn.Linear):
    """Drops its output by Python's generator, and scales it by numpy's, as LayerDrop and its like
    do."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        scaled = super().forward(value) * float(np.random.rand())
        return scaled if random.random() < 0.7 else 0 * scaled


def test_a_step_is_a_function_of_its_seed_whatever_generator_the_model_draws_from():
    loop, weights = loop_of(
        lambda: nn.Sequential(nn.Linear(5, 8), DrawsEverywhere(8, 3)), OPTIMIZERS["plain"]
    )
    trainer = loop.trainer
    inputs, labels = torch.rand(BATCH, 5), torch.tensor([0, 1, 2, 0])

    def losses(seeds):
        trainer.begin(weights)
        return [loop.step(inputs, labels, seed, LR) for seed in seeds]

    assert losses(range(6)) == losses(range(6))
    assert losses(range(6)) != losses(range(6, 12))
