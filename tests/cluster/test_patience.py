"""How long a node may say that it is still at it."""

import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from tdml.cluster.patience import Patience
from tdml.cluster.replica import RpcReplica
from tdml.wire.channel import Session


@dataclass
class Clock:
    """A clock that only the test moves."""

    now: float = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def test_nobody_is_late_before_anybody_has_trained(clock: Clock) -> None:
    late = Patience(32, 5.0, state_bytes=10**9).late(100)
    clock.now = 1e9
    assert late() is None


def test_who_takes_far_longer_than_the_slowest_trained_is_late(clock: Clock) -> None:
    patience = Patience(32, 5.0, state_bytes=10**9)
    patience.trained(100, 10.0)
    patience.trained(100, 20.0)
    late = patience.late(50)  # which are two batches
    clock.now = 60 + 5 * 12.8 - 1
    assert late() is None
    clock.now += 2
    assert "late: not done after 125.0 s (training on as much took 12.8 s)" in str(late())


def test_who_tells_the_state_of_every_step_may_take_what_that_takes(clock: Clock) -> None:
    patience = Patience(32, 5.0, state_bytes=10**9)
    patience.trained(32, 1.0)
    late = patience.late(320, states=10)
    clock.now = 60 + 5 * 10 + 10 * 10 - 1  # a gigabyte at 100 MB/s takes ten seconds
    assert late() is None
    clock.now += 2
    assert "late" in str(late())


def test_a_look_or_dispute_gives_time_for_the_state_of_every_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica = RpcReplica(
        0, [], 5.0, SimpleNamespace(at=Session("job", "session")), Patience(4, 5.0, 10**9)
    )
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        replica._patience, "late", lambda samples, states: asked.append((samples, states))
    )
    monkeypatch.setattr(replica._exchange, "ask", lambda *_: [])
    plain = SimpleNamespace(batches=[range(4)] * 3, each=False)
    replica.repeat(plain)
    replica.repeat(SimpleNamespace(batches=plain.batches, each=True))
    assert asked == [(12, 0), (12, 3)]
