"""Replicas that have more data than others take more steps, and their updates are larger."""

import json
from pathlib import Path

import pytest

from tdml.lab.laboratory import Laboratory
from tdml.round.judge import reach

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "topology.replicas=3",
    "topology.stages=1", "train.batch_size=16", "rounds=5",
]  # fmt: skip


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_who_has_more_data_is_not_cut_to_the_others_size(momentum: float, tmp_path: Path) -> None:
    shares = [list(range(32)), list(range(32, 64)), list(range(64, 160))]
    (tmp_path / "shares.json").write_text(json.dumps(shares))
    given = [f"data.shares={tmp_path / 'shares.json'}", f"train.momentum={momentum}"]
    laboratory = Laboratory([*_JOB, *given])
    for number in range(1, 6):
        played = laboratory.play(number)
        assert played.steps == {0: 2, 1: 2, 2: 6}
        assert played.judgements[2].scale == 1, played.judgements[2].reason


def test_how_far_some_steps_lead() -> None:
    assert reach(6, 0.0) == 6
    assert reach(2, 0.9) == pytest.approx(1 + 1.9)
    assert reach(3, 0.9) == pytest.approx(1 + 1.9 + 2.71)
