import json

import pytest

from tdml.monitor import record as module
from tdml.monitor.record import PHASES, ReplicaRecord, RoundRecord, Stopwatch, finite

NOT_NUMBERS = [float("nan"), float("inf"), -float("inf")]


def round_record(**settings):
    defaults = {
        "round": 3, "replicas": {}, "accepted": [0, 1], "test_accuracy": 0.91, "test_loss": 0.31,
        "seconds": {"total": 4.2}, "bytes": {"up": 1, "down": 2}, "notes": [],
    }  # fmt: skip
    return RoundRecord(**defaults | settings)


def read_back(record):
    return json.loads(json.dumps(record.to_json(), allow_nan=False))


def test_a_line_has_the_documented_keys():
    replicas = {
        3: ReplicaRecord("malicious", 0.41, 2.51, 1.49, "rank spread 9.8", ["r3.s0", "r3.s1"]),
        0: ReplicaRecord("honest", 0.40, 2.49, 1.02),
    }
    assert read_back(round_record(replicas=replicas, notes=["replica 2 lost"])) == {
        "round": 3,
        "test_accuracy": 0.91,
        "test_loss": 0.31,
        "replicas": {
            "0": {"verdict": "honest", "train_loss": 0.40, "rank_mean": 2.49, "rank_std": 1.02, "reason": ""},
            "3": {
                "verdict": "malicious", "train_loss": 0.41, "rank_mean": 2.51, "rank_std": 1.49,
                "reason": "rank spread 9.8", "nodes": ["r3.s0", "r3.s1"],
            },
        },
        "accepted": [0, 1],
        "seconds": {"total": 4.2},
        "bytes": {"up": 1, "down": 2},
        "notes": ["replica 2 lost"],
    }  # fmt: skip


def test_replicas_come_in_the_order_of_their_numbers():
    replicas = {number: ReplicaRecord("honest") for number in (10, 2, 0)}
    assert list(round_record(replicas=replicas).to_json()["replicas"]) == ["0", "2", "10"]


def test_nodes_are_named_only_where_there_are_any():
    replicas = {0: ReplicaRecord("lost", reason="see notes")}
    line = round_record(replicas=replicas).to_json()["replicas"]["0"]
    assert line == {
        "verdict": "lost", "train_loss": None, "rank_mean": None, "rank_std": None, "reason": "see notes",
    }  # fmt: skip


@pytest.mark.parametrize("value", [*NOT_NUMBERS, None])
def test_what_is_no_number_becomes_null(value):
    replicas = {0: ReplicaRecord("malicious", value, value, value)}
    line = read_back(round_record(replicas=replicas, test_accuracy=value, test_loss=value))
    assert (line["test_accuracy"], line["test_loss"]) == (None, None)
    assert [line["replicas"]["0"][key] for key in ("train_loss", "rank_mean", "rank_std")] == [None] * 3


@pytest.mark.parametrize("value", [0.0, -1.5, 1e300])
def test_numbers_stay(value):
    assert finite(value) == value


class Clock:
    """A clock that only the test moves."""

    def __init__(self):
        self.now = 50.0

    def perf_counter(self):
        return self.now


def test_seconds_add_up_by_phase(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    watch = Stopwatch()
    for name, seconds in (("broadcast", 1.0), ("train", 2.5), ("broadcast", 0.25)):
        with watch.phase(name):
            clock.now += seconds
    clock.now += 1
    found = watch.read()
    assert (found["broadcast"], found["train"], found["gather"], found["total"]) == (1.25, 2.5, 0.0, 4.75)
    assert list(found) == [*PHASES, "total"]


def test_a_phase_that_fails_is_counted(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.phase("train"):
        clock.now += 2
        raise KeyError
    assert watch.read()["train"] == 2.0


def test_the_documented_phases():
    documented = {"train", "gather", "screen", "cross_check", "aggregate", "broadcast", "evaluate"}
    assert documented <= set(PHASES)


def test_seconds_are_rounded_to_milliseconds(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    watch = Stopwatch()
    clock.now += 0.12349
    assert watch.read()["total"] == 0.123
