import statistics

import pytest

from tdml.lab.fleet import LocalReplica
from tdml.lab.laboratory import Laboratory
from tdml.protocol.orders import ReplicaLost
from tdml.round import deadline as module
from tdml.round.deadline import Deadline, Pace, deadline
from tests.lab.cases import SMALL

INFINITE = float("inf")
_JOB = [
    *SMALL, "topology.replicas=4", "topology.stages=1", "sync.local_steps=3", "trust.budget=1",
]  # fmt: skip


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
    ("known", "seconds", "limit"),
    [
        ([], None, float("inf")),
        ([2.0, 2.0], None, float("inf")),  # two are no measure
        ([2.0, 40.0, 2.0, 40.0, 2.0], None, float("inf")),  # however often
        ([2.0, 4.0, 9.0], None, 42.0),  # 3 · 4 + 30
        ([9.0, 2.0, 4.0], None, 42.0),  # in any order
        ([2.0, 2.0, INFINITE], None, 36.0),
        ([2.0, INFINITE, INFINITE], None, INFINITE),
        ([100.0, 100.0, 100.0], None, 330.0),
        ([], 7.5, 7.5),
        ([1.0, 1.0, 1.0], 7.5, 7.5),
    ],
)
def test_seconds_that_a_replica_may_take(known, seconds, limit):
    replicas = [0, 1, 0, 1, 0] if len(known) != 3 else [0, 1, 2]
    assert deadline(list(zip(replicas, known, strict=False)), seconds) == limit


def test_where_times_differ_much_more_is_allowed_than_three_medians():
    known = [10.0, 100.0, 400.0, 500.0, 900.0]
    mad = statistics.median(abs(time - 400.0) for time in known)
    assert mad == 300.0
    assert deadline(list(enumerate(known)), None) == 400.0 + 6 * 1.4826 * mad > 3 * 400.0 + 30


def test_the_setting_is_the_deadline(clock):
    round_ = Deadline(Pace(), seconds=5.0)
    clock.now += 5
    assert round_.passed(1) is None
    clock.now += 0.5
    assert round_.passed(1) == "late: not done after 5.5 s (sync.deadline)"
    assert round_.late == {1}


def test_earlier_rounds_decide_where_this_one_says_nothing_yet(clock):
    pace = Pace()
    round_ = Deadline(pace, seconds=None)
    clock.now += 10
    for replica in range(3):
        round_.finished(replica)
    round_ = Deadline(pace, seconds=None)
    clock.now += 60
    assert round_.passed(0) is None
    clock.now += 1
    assert round_.passed(0) == (
        "late: not done after 61.0 s (others and earlier rounds took 10.0 s)"
    )


def test_it_counts_from_its_own_start(clock):
    clock.now += 500
    assert Deadline(Pace(), seconds=5.0).passed(0) is None


@pytest.mark.parametrize("idle", [3, 4])
def test_those_who_take_no_steps_do_not_have_the_others_be_late(clock, idle):
    """In the first round nobody else has finished yet: they would be late twice in a row, and gone
    for good."""
    round_ = Deadline(Pace(), None, range(8))
    clock.now += 1
    for replica in range(idle):
        round_.finished(replica)
    clock.now += 1000
    for replica in range(idle, 7):
        round_.finished(replica)
        clock.now += 10
    assert round_.passed(7) is None
    clock.now += 10000
    assert round_.passed(7)


def test_of_three_one_that_stalls_is_late_in_the_first_round(clock):
    round_ = Deadline(Pace(), None, range(3))
    for replica in range(2):
        clock.now += 10
        assert round_.passed(2) is None
        round_.finished(replica)
    clock.now += 100
    assert (
        round_.passed(2) == "late: not done after 120.0 s (others and earlier rounds took 15.0 s)"
    )


def test_who_is_lost_is_not_waited_for(clock):
    """Or one that stalls beside them would never be late."""
    round_ = Deadline(Pace(), None, range(7))
    clock.now += 10
    for replica in range(3):
        round_.leave(replica)
        round_.finished(3 + replica)
    clock.now += 100
    assert round_.passed(6)


def test_of_very_many_a_few_that_stall_are_late(clock):
    """More of them than there are times of earlier rounds that are kept."""
    round_ = Deadline(Pace(), None, range(200))
    clock.now += 10
    for replica in range(120):
        round_.finished(replica)
    clock.now += 100
    assert round_.passed(120)


def test_a_round_waits_for_all_as_long_as_they_have_something_to_do(monkeypatch):
    """Also for who does an earlier one again: a process that goes on has no earlier times, and of
    three one that then stalls would never be late."""
    deadlines = []

    def noted(pace, seconds, replicas):
        deadlines.append((sorted(replicas), Deadline(pace, seconds, replicas)))
        return deadlines[-1][1]

    monkeypatch.setattr("tdml.round.engine.Deadline", noted)
    laboratory = Laboratory(_JOB)
    laboratory.play(1)
    node = laboratory.fleet.nodes["r2.s0"]
    node.open = lambda: 1 / 0
    laboratory.fleet.nodes["r3.s0"].training = lambda *_: 1 / 0
    assert laboratory.play(2).judgements[3].status == "lost"
    assert list(laboratory.engine.judge.debts.owing) == [laboratory.fleet.key("r2.s0")]
    del node.open
    laboratory.play(3)
    assert [waited for waited, _ in deadlines] == [[0, 1, 2, 3]] * 3
    assert not any(deadline._waiting for _, deadline in deadlines)
    known = [replica for replica, _ in deadlines[-1][1]._known]
    assert known.count(2) == 3, "of three two may have done so, and the last one stall"


def test_who_owes_a_round_has_as_long_for_it_as_others_for_theirs(clock, monkeypatch):
    """Once it has the weights of that round: a link may be slow, and who is late twice is gone."""
    laboratory = Laboratory(_JOB)
    node, load = laboratory.fleet.nodes["r2.s0"], LocalReplica.load

    def slow(replica, weights, version, frozen=()):
        clock.now += 1000 if version < 0 and replica.loaded != version else 0
        return load(replica, weights, version, frozen)

    node.open = lambda: 1 / 0
    laboratory.play(1)
    del node.open
    monkeypatch.setattr(LocalReplica, "load", slow)
    assert "has shown its work of round 1" in laboratory.play(2).judgements[2].reason


def test_who_did_not_get_the_weights_of_the_round_that_it_owes_does_not_train_on_others(
    monkeypatch,
):
    laboratory = Laboratory(_JOB)
    node, load, failed = laboratory.fleet.nodes["r2.s0"], LocalReplica.load, []

    def once(replica, weights, version, frozen=()):
        if version < 0 and not failed:
            failed.append(replica.index)
            raise ReplicaLost(replica.index, "no room")
        return load(replica, weights, version, frozen)

    node.open = lambda: 1 / 0
    laboratory.play(1)
    del node.open
    monkeypatch.setattr(LocalReplica, "load", once)
    assert "has shown its work of round 1" in laboratory.play(2).judgements[2].reason
    assert failed == [2]
