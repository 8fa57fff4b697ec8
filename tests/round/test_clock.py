import pytest

from tdml.round import clock as module
from tdml.round.clock import PHASES, Stopwatch


class Clock:
    """A clock that only the test moves."""

    def __init__(self):
        self.now = 50.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_seconds_add_up_by_phase(clock):
    watch = Stopwatch()
    for name, seconds in (("broadcast", 1.0), ("train", 2.5), ("broadcast", 0.25)):
        with watch.phase(name):
            clock.now += seconds
    clock.now += 1
    found = watch.seconds
    assert (found["broadcast"], found["train"], found["gather"], found["total"]) == (
        1.25,
        2.5,
        0.0,
        4.75,
    )
    assert list(found) == [*PHASES, "total"]


def test_a_phase_that_fails_is_counted(clock):
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.phase("train"):
        clock.now += 2
        raise KeyError
    assert watch.seconds["train"] == 2.0


def test_the_documented_phases():
    documented = {"train", "gather", "screen", "cross_check", "aggregate", "broadcast", "evaluate"}
    assert documented <= set(PHASES)


def test_seconds_are_rounded_to_milliseconds(clock):
    watch = Stopwatch()
    clock.now += 0.12349
    assert watch.seconds["total"] == 0.123
