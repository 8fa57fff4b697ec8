"""Replicas that have more data than others take more steps, and their updates are larger."""

import itertools
import json
from pathlib import Path

import pytest

from tdml.lab.laboratory import Laboratory
from tdml.round.evidence import path_length

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "topology.replicas=3",
    "topology.stages=1", "train.batch_size=16", "rounds=5",
]  # fmt: skip


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("small", "large"), [(32, 96), (16, 288)])
def test_who_has_more_data_is_not_cut_to_the_others_size_nor_they_to_its(
    small: int, large: int, momentum: float, tmp_path: Path
) -> None:
    ends = [0, small, 2 * small, 2 * small + large]
    shares = [list(range(*span)) for span in itertools.pairwise(ends)]
    (tmp_path / "shares.json").write_text(json.dumps(shares))
    given = [f"data.shares={tmp_path / 'shares.json'}", f"train.momentum={momentum}"]
    laboratory = Laboratory([*_JOB, *given])
    for number in range(1, 6):
        played = laboratory.play(number)
        assert played.steps == {0: small // 16, 1: small // 16, 2: large // 16}
        assert [made.scale for made in played.judgements.values()] == [1, 1, 1]


def test_how_far_some_steps_lead() -> None:
    assert path_length(6, 0.0) == 6
    assert path_length(2, 0.9) == pytest.approx(1 + 1.9)
    assert path_length(3, 0.9) == pytest.approx(1 + 1.9 + 2.71)
