"""Whom a run waits for when nobody is left to play a round."""

from types import SimpleNamespace

import pytest
import torch.distributed as dist

from tdml.errors import CannotGoOn
from tdml.run import muster
from tdml.run.muster import Muster


class _Fleet:
    """`enough` says, muster by muster, whether there are replicas; `calls` is all that is done."""

    def __init__(self, enough: list[bool]) -> None:
        self.calls: list = []
        self.enough = iter(enough)
        self.banned, self.dead, self.left = ["a"], ["b", "c"], []
        self.roster = SimpleNamespace(refused={})

    def muster(self) -> list[str]:
        self.calls.append("muster")
        return [f"of muster {self.calls.count('muster')}"]

    def can_go_on(self) -> bool:
        return next(self.enough)

    def meanwhile(self) -> None:
        self.calls.append("meanwhile")


def _make(
    fleet: _Fleet, monkeypatch: pytest.MonkeyPatch, returns: bool = True, store: bool = True
) -> Muster:
    """At second 100, with 60 seconds of patience."""

    def renew(number: int, *_: object) -> None:
        fleet.calls.append(("renew", number))
        if not store:
            raise dist.DistNetworkError("gone")

    def await_return(fleet: _Fleet, sessions: object, until: float, say: object) -> bool:
        fleet.calls.append(("await", until))
        return returns

    monkeypatch.setattr(muster, "renew", renew)
    monkeypatch.setattr(muster, "await_return", await_return)
    monkeypatch.setattr(
        muster, "note_farewells", lambda fleet, _: setattr(fleet, "left", fleet.dead[:1])
    )
    monkeypatch.setattr(muster.time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(muster.time, "sleep", fleet.calls.append)
    monitor = SimpleNamespace(
        terminal=SimpleNamespace(waiting=None),
        folder=SimpleNamespace(how_to_go_on="go on so"),
    )
    return Muster(fleet, None, None, monitor, 60.0)


def test_where_there_are_replicas_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = _Fleet([True])
    assert _make(fleet, monkeypatch).replicas(7) == ["of muster 1"]
    assert fleet.calls == [("renew", 7), "muster"]


def test_where_none_is_left_who_comes_back_in_time_is_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often: the patience is that of one round."""
    fleet = _Fleet([False, False, True])
    assert _make(fleet, monkeypatch).replicas(7) == ["of muster 3"]
    once_more = [("await", 160.0), ("renew", 7), "muster"]
    assert fleet.calls == [("renew", 7), "muster", *once_more, *once_more]


def test_where_nobody_comes_back_the_run_ends_and_says_who_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = _Fleet([False])
    with pytest.raises(CannotGoOn) as caught:
        _make(fleet, monkeypatch, returns=False).replicas(7)
    assert str(caught.value) == (
        "no replica is left: 1 nodes banned, 2 dead, 1 have left, 0 refused, no spare: go on so, "
        "with more topology.spares if nodes are banned"
    )
    assert fleet.calls == [("renew", 7), "muster", ("await", 160.0)]


def test_without_the_store_the_run_ends_unless_a_signal_ends_it_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = _Fleet([])
    with pytest.raises(CannotGoOn, match=r"the job's store is gone.*: go on so"):
        _make(fleet, monkeypatch, store=False).replicas(7)
    assert fleet.calls == [("renew", 7), muster._SIGNAL_S, "meanwhile"]
