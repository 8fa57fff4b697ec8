import json

import pytest

from tdml.monitor.record import finite, form_of, headline, line_of
from tdml.round.result import Round
from tdml.trust.judgement import Judgement, lost

NOT_NUMBERS = [float("nan"), float("inf"), -float("inf")]


def played(*judgements, **changes):
    """Round 3 with these judgements."""
    said = {
        "test": {"accuracy": 0.91, "loss": 0.31},
        "seconds": {"total": 4.2},
        "bytes": {"up": 1, "down": 2},
    }
    steps = {made.replica: 20 for made in judgements}
    return Round(
        3, {}, steps, judgements={made.replica: made for made in judgements}, **said | changes
    )


def read_back(played):
    return json.loads(json.dumps(line_of(played), allow_nan=False))


def test_a_line_has_the_documented_keys():
    liar = Judgement(
        3,
        ("r3.s0", "r3.s1"),
        "malicious",
        "a lie",
        blamed=("r3.s1",),
        train_loss=0.41,
        rank_mean=2.51,
        rank_std=1.49,
    )
    honest = Judgement(0, (), "honest", weight=1.0, train_loss=0.40, rank_mean=2.49, rank_std=1.02)
    assert read_back(played(liar, honest, bans={"r1.s0": "a lie"}, notes=["replica 2 lost"], spent=1.23456, validation={"accuracy": 0.5})) == {
        "round": 3,
        "test_accuracy": 0.91,
        "test_loss": 0.31,
        "validation_accuracy": 0.5,
        "replicas": {
            "0": {
                "verdict": "honest", "steps": 20, "train_loss": 0.40, "rank_mean": 2.49,
                "rank_std": 1.02, "reason": "", "weight": 1.0, "scale": 1.0,
            },
            "3": {
                "verdict": "malicious", "steps": 20, "train_loss": 0.41, "rank_mean": 2.51,
                "rank_std": 1.49, "reason": "a lie", "weight": 0.0, "scale": 1.0, "nodes": ["r3.s1"],
            },
        },
        "accepted": [0],
        "banned": ["r1.s0"],
        "seconds": {"total": 4.2},
        "bytes": {"up": 1, "down": 2},
        "spent": 1.235,
        "notes": ["replica 2 lost"],
    }  # fmt: skip


def test_replicas_come_in_the_order_of_their_numbers():
    judgements = [Judgement(number, (), "honest", weight=1.0) for number in (10, 2, 0)]
    assert list(line_of(played(*judgements))["replicas"]) == ["0", "2", "10"]
    assert line_of(played(*judgements))["accepted"] == [0, 2, 10]


def test_nodes_are_named_only_where_there_are_any():
    line = line_of(played(lost(0, ("r0.s0",), "see notes")))["replicas"]["0"]
    assert line == {
        "verdict": "lost", "steps": 20, "train_loss": None, "rank_mean": None, "rank_std": None,
        "reason": "see notes", "weight": 0.0, "scale": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("value", [*NOT_NUMBERS, None])
def test_what_is_no_number_becomes_null(value):
    made = Judgement(0, (), "malicious", train_loss=value, rank_mean=value, rank_std=value)
    line = read_back(
        played(made, test={"accuracy": value, "loss": value}, validation={"accuracy": value})
    )
    assert (line["test_accuracy"], line["test_loss"], line["validation_accuracy"]) == (
        None,
        None,
        None,
    )
    assert [line["replicas"]["0"][key] for key in ("train_loss", "rank_mean", "rank_std")] == [
        None
    ] * 3


def test_what_could_not_be_evaluated_is_null():
    line = read_back(played(test={"accuracy": None, "loss": None}))
    assert (line["test_accuracy"], line["test_loss"]) == (None, None)
    assert "validation_accuracy" not in line


@pytest.mark.parametrize("value", [0.0, -1.5, 1e300])
def test_numbers_stay(value):
    assert finite(value) == value


def test_a_round_is_known_by_the_tasks_first_metric():
    measured = {"perplexity": 12.5, "token_accuracy": 0.5, "loss": 2.5}
    line = line_of(played(test=measured, validation={"loss": 2}))
    assert list(line)[:5] == [
        "round",
        "test_perplexity",
        "test_token_accuracy",
        "test_loss",
        "validation_loss",
    ]
    assert (headline(line), form_of("perplexity"), form_of("token_accuracy")) == (
        "perplexity",
        ".4g",
        ".3f",
    )
    assert headline(line_of(played(test={"loss": 2.5}))) == "loss"
    assert headline(line_of(played())) == "accuracy"
