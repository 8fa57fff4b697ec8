"""Liars who hand in nearly what one honest replica has learnt: they and it are the usual ones then,
and the other honest replicas stand out."""

import pytest
import torch

from tdml.attacks import Attack
from tdml.attacks.base import known
from tdml.lab.laboratory import Laboratory
from tests.slow import slow_but

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=64", "topology.replicas=5",
    "topology.stages=1", "data.partition=dirichlet", "sync.local_steps=10", "rounds=10",
    f"attack._target_={__name__}.Hug", "attack.nodes=[r3.s0,r4.s0]", "attack.from_round=2",
]  # fmt: skip


class Hug(Attack):
    omniscient = sees_updates = True

    def corrupt(self, update, context):
        near, count = known(context).updates[0].clone(), context.parameters
        noise = torch.randn(count, generator=context.generator)
        near[:count] += 0.15 * near[:count].norm() * noise / noise.norm()
        return near


@pytest.mark.parametrize("seed", slow_but([1], range(3)))
def test_who_makes_others_stand_out_is_met(seed: int) -> None:
    """In two of five rounds, on average, one of two is."""
    laboratory = Laboratory([*_JOB, f"seed={seed}"])
    rounds = laboratory.run(10)
    banned = {name: played.number for played in rounds for name in played.bans}
    assert set(banned) == {"r3.s0", "r4.s0"}
    assert max(banned.values()) <= 6
