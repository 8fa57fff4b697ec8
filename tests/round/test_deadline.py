import pytest

from tdml.round import deadline as module
from tdml.round.deadline import Deadline, deadline


class Clock:
    """A clock that only the test moves."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("finished", "replicas", "seconds", "limit"),
    [
        ([], 4, None, float("inf")),
        ([2.0, 2.0], 4, None, float("inf")),  # half is not more than half
        ([2.0, 4.0, 9.0], 4, None, 42.0),  # 3 · 4 + 30
        ([2.0, 4.0], 3, None, 39.0),
        ([1.0], 1, None, 33.0),
        ([1.0], 2, None, float("inf")),
        ([9.0, 2.0, 4.0], 5, None, 42.0),  # in any order
        ([], 4, 7.5, 7.5),
        ([1.0, 1.0, 1.0], 4, 7.5, 7.5),
    ],
)
def test_seconds_that_a_replica_may_take(finished, replicas, seconds, limit):
    assert deadline(finished, replicas, seconds) == limit


def test_the_setting_is_the_deadline(clock):
    round_ = Deadline(replicas=2, seconds=5.0)
    clock.now += 5
    assert round_.passed() is None
    clock.now += 0.5
    assert round_.passed() == "late: not done after 5.5 s (sync.deadline)"


def test_without_the_setting_the_others_decide(clock):
    round_ = Deadline(replicas=4, seconds=None)
    for seconds in (10, 1):
        clock.now += seconds
        round_.finished()
    clock.now += 100000
    assert round_.passed() is None  # two of four are not yet the measure


def test_the_slow_one_is_told_how_long_the_others_took(clock):
    round_ = Deadline(replicas=4, seconds=None)
    for seconds in (10, 1, 1):
        clock.now += seconds
        round_.finished()  # after 10, 11 and 12 s
    clock.now += 51  # 63 s after the start, and 3 · 11 + 30 = 63
    assert round_.passed() is None
    clock.now += 1
    assert round_.passed() == "late: not done after 64.0 s (the others took 11.0 s)"


def test_it_counts_from_its_own_start(clock):
    clock.now += 500
    assert Deadline(replicas=1, seconds=5.0).passed() is None
