"""Which round was the best."""

import pytest

from tdml.monitor.best import Best


def best(*accuracies: float | None) -> Best:
    return Best(
        [{"round": number, "validation_accuracy": a} for number, a in enumerate(accuracies, 1)]
    )


@pytest.mark.parametrize(
    ("accuracies", "number", "patience"),
    [
        ((0.0, 0.0), 1, 1),
        ((0.5, 0.7, 0.6), 2, 1),
        ((0.7, 0.7, 0.7), 1, 2),
        ((None, 0.2, None), 2, 1),
    ],
)
def test_the_first_of_the_best_rounds_counts_and_patience_ends(accuracies, number, patience):
    found, last = best(*accuracies), len(accuracies)
    assert found.round == number
    assert f"no better validation accuracy since round {number}" in found.no_better(last, patience)
    assert found.no_better(last, patience + 1) == found.no_better(last - 1, patience) == ""
    assert found.no_better(last, None) == ""


@pytest.mark.parametrize("accuracies", [(), (None, None, None), (0.5, 0.6, 0.61)])
def test_a_run_goes_on_while_it_gets_better_or_nobody_knows(accuracies):
    assert best(*accuracies).no_better(len(accuracies), 1) == ""


def test_rounds_without_validation_have_no_best():
    assert Best([{"round": 1, "test_accuracy": 0.9}]).round == 0


def test_without_an_accuracy_the_lowest_loss_counts():
    lines = [
        {"round": i, "validation_perplexity": 2.0, "validation_loss": a}
        for i, a in enumerate((3.0, 2.0, 2.5), 1)
    ]
    found = Best(lines)
    assert (found.round, found.name, found.value) == (2, "loss", 2.0)
    assert found.no_better(3, 1) == "no better validation loss since round 2 (train.patience=1)"


@pytest.mark.parametrize("name", ["accuracy", "loss"])
def test_what_is_no_number_is_no_best(name):
    """Whoever measures may say what they like, and a loss may well overflow."""
    found = Best([])
    for number, value in enumerate((float("nan"), float("inf"), float("-inf"), 0.5), 1):
        found.add(number, {name: value})
    assert (found.round, found.name, found.value) == (4, name, 0.5)


@pytest.mark.parametrize(
    ("after", "then", "expected"),
    [
        (3, 0.86, (4, 0.86)),  # better than the round that the run went on from
        (3, 0.84, (3, 0.85)),
        (0, 0.1, (1, 0.1)),
        (4, 0.1, (4, 0.95)),  # the best one stays
    ],
)
def test_rounds_that_are_taken_back_are_no_best(after, then, expected):
    """Their models are gone, and those of the best before them."""
    accuracies = [0.8, 0.9, 0.85, 0.95, 0.5]
    lines = [
        {"round": number, "validation_accuracy": a, **({"void": True} if number > after else {})}
        for number, a in enumerate(accuracies, 1)
    ]
    found = best(*accuracies)
    found.take_back(after)
    assert found.round == Best(lines).round == (4 if after == 4 else after)
    found.add(after + 1, {"accuracy": then})
    again = Best([*lines, {"round": after + 1, "validation_accuracy": then}])
    assert (found.round, found.value) == (again.round, again.value) == expected


def test_two_rollbacks_without_a_round_between_are_as_one():
    found = Best(
        [{"round": n, "validation_accuracy": a} for n, a in enumerate((0.5, None, 0.9), 1)]
    )
    found.take_back(2)  # of which nobody knows
    assert found.round == 0
    found.take_back(1)
    assert (found.round, found.value) == (1, 0.5)
