"""Which round was the best."""

import pytest

from tdml.monitor.best import Best


def best(*accuracies: float | None) -> Best:
    return Best({"round": number, "validation_accuracy": a} for number, a in enumerate(accuracies, start=1))


@pytest.mark.parametrize(
    ("accuracies", "number", "since"),
    [
        ((), 0, 0),
        ((None, None), 0, 0),
        ((0.0, 0.0), 1, 1),
        ((0.5, 0.7, 0.6), 2, 1),
        ((0.7, 0.7, 0.7), 1, 2),
        ((None, 0.2, None), 2, 1),
        ((0.5, 0.6, 0.61), 3, 0),
    ],
)
def test_the_first_of_the_best_rounds_counts(accuracies, number, since):
    found = best(*accuracies)
    assert (found.round, found.rounds_since(len(accuracies))) == (number, since)


def test_rounds_without_validation_have_no_best():
    assert Best([{"round": 1, "test_accuracy": 0.9}]).round == 0
