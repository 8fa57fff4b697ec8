"""How much of a round counts as verified: what chance chose, each window with the same chance."""

import math

from tdml.lab.laboratory import Laboratory
from tdml.trust.numbers import RANDOM_SHARE

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "topology.stages=1", "topology.replicas=4", "trust.budget=1",
]  # fmt: skip


def test_of_what_was_all_repeated_only_what_chance_chose_is_verified() -> None:
    laboratory = Laboratory(_JOB)
    judgements = [j for r in range(1, 9) for j in laboratory.play(r).judgements.values()]
    assert all(judgement.verified for judgement in judgements), "the budget pays for everything"
    windows = [3 * judgement.repeated / judgement.samples for judgement in judgements]
    assert set(windows) <= {0, 1, 2, 3}
    mean, draws = sum(windows) / len(windows) / 3, 3 * len(windows)
    chance = RANDOM_SHARE * 1
    assert abs(mean - chance) < 3 * math.sqrt(chance * (1 - chance) / draws)
    assert len(set(windows)) > 2, "each window by itself"
