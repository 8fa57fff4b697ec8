"""What updates are worth, against a plain leave-one-out in one process."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F

from tdml import config as settings
from tdml.cluster.gather import Gathered
from tdml.cluster.improvement import improvements
from tdml.cluster.messages import Evaluation
from tdml.data import pieces, source
from tdml.job import Job, prepare
from tdml.models import whole

_STEP = 0.05


@pytest.fixture(scope="module")
def job() -> Job:
    small = ["model=mlp", "model.features=192", "data.size=8"]
    config = settings.load([*small, "topology.replicas=4", "topology.stages=2", "trust.validators=3"])
    return prepare(config, source.load(config.data, config.seed), checkpoint=None)


@dataclass
class Validator:
    """A replica that evaluates in this process; `lie` bends its losses on a candidate, None being all together."""

    job: Job
    index: int
    lie: Callable[[torch.Tensor, int | None], torch.Tensor] = lambda losses, candidate: losses

    def testify(
        self, number: int, asked: tuple, candidate: int | None, updates: Sequence[torch.Tensor]
    ) -> list[Evaluation]:
        assert candidate != self.index, "nobody judges itself"
        inputs, labels = _read(self.job, asked)
        losses = plain_losses(self.job, updates, inputs, labels)
        return [Evaluation(self.lie(losses, candidate), torch.zeros(len(losses), dtype=torch.bool))]


class Fleet:
    """The validators that still answer."""

    def __init__(self, validators: Sequence[Validator]) -> None:
        self._validators = {validator.index: validator for validator in validators}

    def ready(self, indices: Sequence[int]) -> list[Validator]:
        return [self._validators[index] for index in indices if index in self._validators]

    def each(self, order: Callable, replicas: Sequence[Validator]) -> dict:
        return {replica.index: order(replica) for replica in replicas}


def _read(job: Job, asked: tuple) -> tuple[torch.Tensor, torch.Tensor]:
    parts = [pieces.read(job.source, piece) for piece in asked]
    return torch.cat([inputs for inputs, _ in parts]), torch.cat([labels for _, labels in parts])


def plain_losses(job: Job, updates: Sequence[torch.Tensor], inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of the first weights plus an update, one per stage, through the whole model."""
    model = whole.initial_model(job.config.model, job.config.seed)
    flats = [flat + update for flat, update in zip(whole.flatten(model, job.layouts), updates, strict=True)]
    whole.write(model, job.layouts, flats)
    with torch.no_grad():
        return F.cross_entropy(model.eval()(inputs), labels, reduction="none")


@pytest.fixture(scope="module")
def updates(job: Job) -> list[list[torch.Tensor]]:
    """One per replica and stage: gradients of different batches, of which replica 2 has the wrong sign."""
    found = []
    for replica in range(4):
        model = whole.initial_model(job.config.model, job.config.seed)
        start = whole.flatten(model, job.layouts)
        inputs, labels = job.source.training_batch(range(64 * replica, 64 * replica + 64), seed=0)
        F.cross_entropy(model(inputs), labels).backward()
        sign = 1 if replica == 2 else -1
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(parameter.grad, alpha=sign * _STEP)
        found.append([new - old for new, old in zip(whole.flatten(model, job.layouts), start, strict=True)])
    return found


def gathered(updates: Sequence[list[torch.Tensor]], replicas: Sequence[int]) -> Gathered:
    stages = [torch.stack([updates[index][stage] for index in replicas]) for stage in range(2)]
    return Gathered(list(replicas), stages, {}, 0, {}, {})


def plain(job: Job, updates: Sequence[list[torch.Tensor]], weights: dict[int, float]) -> dict[int, float]:
    """Leave one out, in nats."""
    size = job.source.size("validation")
    inputs, labels = job.source.held_out_batch("validation", list(range(size)))

    def loss(left: dict[int, float]) -> float:
        total = sum(left.values())
        mean = [sum(w / total * updates[i][stage] for i, w in left.items()) for stage in range(2)]
        return float(plain_losses(job, mean, inputs, labels).double().mean())

    return {i: loss({j: w for j, w in weights.items() if j != i}) - loss(weights) for i in weights}


def measure(job, updates, weights, validators, replicas=(0, 1, 2, 3)) -> dict[int, int]:
    return improvements(job, Fleet(validators), 1, gathered(updates, replicas), weights, [v.index for v in validators])


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0], [64.0, 32.0, 16.0, 64.0], [1.0, 0.5, 0.0, 1.0]])
def test_equals_a_plain_leave_one_out(weights: list[float], job: Job, updates) -> None:
    found = measure(job, updates, weights, [Validator(job, index) for index in range(4)])
    expected = plain(job, updates, {i: w for i, w in enumerate(weights) if w})
    assert found.keys() == expected.keys()
    for index, nats in expected.items():
        assert found[index] == pytest.approx(1e6 * nats, abs=3)
    if weights[2]:
        assert found[2] < 0 < min(found[index] for index in (0, 1, 3))


def test_rows_need_not_be_the_replicas_numbers(job: Job, updates) -> None:
    found = measure(job, updates, [1.0, 2.0, 1.0], [Validator(job, i) for i in (0, 2, 3)], replicas=(0, 2, 3))
    expected = plain(job, updates, {0: 1.0, 2: 2.0, 3: 1.0})
    assert found == {index: pytest.approx(1e6 * nats, abs=3) for index, nats in expected.items()}


@pytest.mark.parametrize("reported", [0.0, 50.0, math.inf, math.nan])
def test_one_lying_validator_of_four_changes_nothing(reported: float, job: Job, updates) -> None:
    honest = [Validator(job, index) for index in range(4)]
    liar = Validator(job, 1, lambda losses, _: torch.full_like(losses, reported))
    mixed = [honest[0], liar, *honest[2:]]
    assert measure(job, updates, [1.0] * 4, mixed) == measure(job, updates, [1.0] * 4, honest)


def test_validators_that_are_lost_are_done_without(job: Job, updates) -> None:
    fleet = Fleet([Validator(job, 1), Validator(job, 3)])
    found = improvements(job, fleet, 1, gathered(updates, range(4)), [1.0] * 4, [0, 1, 2, 3])
    expected = plain(job, updates, dict.fromkeys(range(4), 1.0))
    assert found == {index: pytest.approx(1e6 * nats, abs=3) for index, nats in expected.items()}
    assert improvements(job, Fleet([]), 1, gathered(updates, range(4)), [1.0] * 4, [0, 1, 2, 3]) == {}


@pytest.mark.parametrize("reported", [math.inf, math.nan, 3e38])
def test_losses_beyond_all_measure_become_numbers_that_the_ledger_knows(reported: float, job: Job, updates) -> None:
    """With two replicas each is the other's only validator, and may report what it likes."""

    def worth(lie: Callable[[torch.Tensor, int | None], torch.Tensor]) -> dict[int, int]:
        return measure(job, updates, [1.0, 1.0], [Validator(job, 0, lie), Validator(job, 1, lie)], replicas=(0, 1))

    assert worth(lambda losses, _: torch.full_like(losses, reported)) == {0: 0, 1: 0}
    praise = worth(lambda losses, candidate: losses if candidate is None else torch.full_like(losses, reported))
    damn = worth(lambda losses, candidate: torch.full_like(losses, reported) if candidate is None else losses)
    assert (praise, damn) == ({0: 10**9, 1: 10**9}, {0: -(10**9), 1: -(10**9)})


def test_one_update_alone_is_not_measured(job: Job, updates) -> None:
    validators = [Validator(job, index) for index in range(4)]
    assert measure(job, updates, [1.0, 0.0, 0.0, 0.0], validators) == {}
    assert measure(job, updates, [0.0] * 4, validators) == {}
