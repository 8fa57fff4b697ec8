"""What a round says of held-out samples that spoil what is measured on them."""

import math

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from tdml.lab.laboratory import Laboratory

_FEATURES = 6


class Points(Dataset):
    """Samples of three classes; those whose numbers are in `bad` have a value that is none."""

    def __init__(self, count: int, bad: list[int]) -> None:
        self._bad = set(bad)
        self.targets = [index % 3 for index in range(count)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        values = torch.full((_FEATURES,), float(index % 3))
        return values * (math.nan if index in self._bad else 1.0), index % 3


def points(bad: list[int], own_validation: bool) -> tuple[Dataset, ...]:
    """Training and test samples, and others that judge if asked for; the held-out ones are bad."""
    held_out = [Points(20, bad) for _ in range(1 + own_validation)]
    return Points(48, []), *held_out


def _played(bad: list[int], own_validation: bool = False) -> tuple[Laboratory, list]:
    laboratory = Laboratory(
        [
            "data._target_=tests.round.test_evaluate.points",
            "~data.size",
            f"+data.bad={bad}",
            f"+data.own_validation={str(own_validation).lower()}",
            "model=mlp",
            f"model.features={_FEATURES}",
            "model.num_classes=3",
            "model.hidden=4",
            "topology.replicas=2",
            "topology.stages=1",
            "topology.microbatches=1",
            "train.batch_size=8",
            "sync.local_steps=2",
            "monitor.best=true",
            "trust.budget=0",
        ]
    )
    return laboratory, [laboratory.play(number) for number in (1, 2)]


def test_a_held_out_sample_that_has_no_loss_is_named_once() -> None:
    laboratory, [first, second] = _played([7])
    halves = laboratory.job.source.halves
    [half] = [name for name, numbers in halves.items() if 7 in numbers]
    spoilt = first.test if half == "test" else first.validation
    assert not math.isfinite(spoilt["loss"])
    [note] = first.notes
    assert note.startswith("test sample 7 has a loss that is not finite")
    assert second.notes == []


def test_samples_that_judge_alone_are_named_by_their_own_numbers() -> None:
    _, [first, _] = _played([3, 11], own_validation=True)
    test, validation = first.notes
    assert test.startswith("test samples 3, 11 have a loss that is not finite")
    assert validation.startswith("validation samples 3, 11 have a loss that is not finite")


@pytest.mark.parametrize("bad", [[], list(range(20))], ids=["none", "all"])
def test_nothing_is_said_where_none_or_all_of_them_are_bad(bad: list[int]) -> None:
    laboratory, rounds = _played(bad)
    assert np.union1d(*laboratory.job.source.halves.values()).tolist() == list(range(20))
    assert [played.notes for played in rounds] == [[], []]
