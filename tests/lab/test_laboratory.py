"""What is played in the laboratory, against plain training and by hand."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from tdml import config as settings
from tdml.data import source
from tdml.lab.byzfl_rules import RULES
from tdml.lab.laboratory import Laboratory
from tdml.lab.yardsticks import NAMES
from tdml.models import whole
from tdml.protocol.orders import TrainOrder
from tdml.round.checkpoint import Checkpoint, load, save
from tdml.run.prepare import prepare
from tests.lab.cases import SMALL


def test_an_honest_update_is_that_of_plain_local_sgd():
    laboratory = Laboratory(
        [*SMALL, "topology.replicas=3", "topology.stages=2", "sync.local_steps=4", "seed=5"]
    )
    made, weights = laboratory.job, laboratory.engine.weights
    replica = laboratory.fleet.muster()[1]
    replica.load(weights, 1)
    order = TrainOrder(2, 4, made.batches(1, 2), "", (), ())
    replica.train(order, lambda: None)
    replica.commit(order)

    config = laboratory.job.config
    data = source.load(config.data, config.seed)
    plain = prepare(
        settings.load([*SMALL, "topology.replicas=3", "sync.local_steps=4", "seed=5"]), data, None
    )
    model, start = plain.model, whole.flatten(plain.model, made.layouts)
    velocities = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for batch in plain.batches(1, 2):
        inputs, labels = data.training_batch(batch.tolist(), seed=0)
        gradients = torch.autograd.grad(
            F.cross_entropy(model(inputs), labels), list(model.parameters())
        )
        for parameter, velocity, gradient in zip(
            model.parameters(), velocities, gradients, strict=True
        ):
            velocity.mul_(config.train.momentum).add_(gradient)
            parameter.data.sub_(config.train.lr * velocity)
    for stage, (before, after) in enumerate(
        zip(start, whole.flatten(model, made.layouts), strict=True)
    ):
        torch.testing.assert_close(
            replica.reveal("update", stage, 0), after - before, atol=1e-6, rtol=1e-4
        )


@pytest.mark.parametrize("attacker", [0, 2])
def test_attackers_know_the_honest_updates_only_and_all_of_them(attacker):
    attack = ["attack=reversed_mean", f"attack.replicas=[{attacker}]"]
    given = [
        "topology.replicas=3",
        "topology.stages=1",
        "sync.local_steps=1",
        "trust.enabled=false",
        *attack,
    ]
    laboratory = Laboratory([*SMALL, *given])
    laboratory.play(1)
    updates = [replica.reveal("update", 0, 0) for replica in laboratory.fleet.muster()]
    lie = updates.pop(attacker)
    torch.testing.assert_close(lie, -3 * torch.stack(updates).mean(dim=0))


def test_attackers_who_know_of_nobody_hand_in_their_own():
    """The only honest node is gone."""
    attack = ["attack=mean_shift", "attack.replicas=[0,1,2]", "trust.enabled=false"]
    laboratory = Laboratory([*SMALL, "topology.replicas=4", "topology.stages=1", *attack])
    laboratory.fleet.ban("r3.s0", "gone")
    round_ = laboratory.play(1)
    assert [round_.judgements[index].status for index in range(3)] == ["honest"] * 3


# MANDERA accuses even then
@pytest.mark.parametrize("name", [name for name in NAMES if name != "mandera"])
def test_every_yardstick_averages_equal_updates_to_themselves(name):
    if name in RULES:
        pytest.importorskip("tdml.common.vision").torchvision()
        pytest.importorskip("byzfl")
    given = [
        "topology.replicas=4",
        "topology.stages=1",
        "sync.local_steps=1",
        "trust.enabled=false",
    ]
    engine = Laboratory([*SMALL, *given], rule=name, byzantine=1).engine
    update = torch.randn(sum(layout.size for layout in engine.job.layouts))
    found = SimpleNamespace(start=SimpleNamespace(steps=dict.fromkeys(range(4), 1)))
    made = engine._combine(update.expand(4, -1).clone(), [0, 1, 2, 3], found)
    torch.testing.assert_close(made, update)


def test_it_goes_back_to_a_checkpoint_that_a_cluster_would_have_then(monkeypatch, tmp_path):
    laboratory = Laboratory([*SMALL, "topology.replicas=3", "topology.stages=1", "rounds=14"])
    numbers: list[int] = []

    def play(number: int) -> SimpleNamespace:
        proven = number == 12 and 12 not in numbers
        numbers.append(number)
        laboratory.engine.moved = number
        return SimpleNamespace(number=number, tainted=range(6, 7) if proven else range(0))

    monkeypatch.setattr(laboratory, "play", play)
    laboratory.run(14)
    for number in range(1, 13):
        save(Checkpoint(number, {}, [], 0, [], {}, {}, {}, {}, [], ""), tmp_path, 2**20)
    before = load(tmp_path, 6)
    assert before is not None and before.round == 4
    assert numbers == [*range(1, 13), *range(5, 15)]
