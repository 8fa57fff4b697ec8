"""Who takes part from the next round on."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from tdml.cluster import membership
from tdml.cluster.membership import renew
from tdml.cluster.patience import Patience
from tdml.members.admission import Admission, Admitted, open_roster
from tdml.members.cards import Card
from tdml.members.roster import Roster
from tdml.members.sessions import Sessions
from tdml.settings.schema import Topology
from tdml.wire.exchange import Peer


def _fleet_of(roster: Roster, banned: Sequence[str] = ()) -> SimpleNamespace:
    """One that has lost members, and in which nobody is."""
    return SimpleNamespace(
        roster=roster,
        banned=banned,
        present={},
        has_lost_members=True,
        caller=SimpleNamespace(),
        nodes={},
        patience=Patience(1, 60, state_bytes=1),
        enter=lambda admitted: [],
        greet=list,
    )


def _sessions(form: Callable[..., Admitted], **more: object) -> SimpleNamespace:
    """The next of them is due."""
    usual = {"at": "next", "is_due": lambda: True, "note": lambda admitted, silent: None}
    return SimpleNamespace(renew=form, **{**usual, **more})


def test_a_node_that_was_banned_in_an_earlier_part_of_the_run_need_not_be_there() -> None:
    asked = []

    def form(there: dict[str, str], banned: set[str]) -> Admitted:
        asked.append(banned)
        return Admitted({})

    roster = Roster({"r0.s0": "a", "r1.s0": "b"}, False, {})
    fleet = _fleet_of(roster, banned=["r1.s0", "r2.s0"])
    sessions = _sessions(form)
    renew(3, fleet, sessions, recorder=None, monitor=None)
    assert asked == [{"b"}]
    assert fleet.caller.at == "next"


def test_who_was_refused_and_comes_again_as_it_should_is_in_the_record(tmp_path: Path) -> None:
    """Else the verdict on it names somebody whom nobody has let in, and the run ends."""
    roster = Roster({"r0.s0": "a", "r1.s0": "b"}, True, {"r1.s0": "another key"})

    def form(there: dict[str, str], banned: set[str]) -> Admitted:
        del roster.refused["r1.s0"]
        return Admitted({})

    fleet = _fleet_of(roster)
    sessions = _sessions(form)
    written: list[dict] = []
    recorder = SimpleNamespace(admit=lambda number, roster: written.append(roster.body))
    monitor = SimpleNamespace(folder=SimpleNamespace(path=tmp_path))
    renew(3, fleet, sessions, recorder, monitor)
    assert written == [{"keys": {"r0.s0": "a", "r1.s0": "b"}, "given": True, "refused": {}}]


class _Fleet(SimpleNamespace):
    @property
    def present(self) -> list[str]:
        return [node.name for node in self.nodes.values() if node.usable]


def test_a_spare_that_has_left_is_not_waited_for() -> None:
    """Nobody calls a spare, so nobody notices."""
    fleet = _Fleet(
        roster=Roster({}, False, {}),
        banned=[],
        has_lost_members=False,
        caller=SimpleNamespace(),
        patience=Patience(1, 60, state_bytes=1),
        nodes={
            name: Peer(name, rank, visit=name) for rank, name in enumerate(["spare0", "spare1"])
        },
        enter=lambda admitted: [],
        greet=list,
    )
    asked = []

    def form(there: list[str], banned: set[str]) -> Admitted:
        asked.append(there)
        return Admitted({})

    rendezvous = SimpleNamespace(has_left=lambda visit: visit == "spare0")
    sessions = _sessions(form, rendezvous=rendezvous)
    renew(3, fleet, sessions, recorder=None, monitor=None)
    assert asked == [["spare1"]]
    assert fleet.nodes["spare0"].left


def test_who_has_an_address_and_answers_nothing_has_not_come() -> None:
    """An address in the store costs a stranger nothing, and each border waits for its answer."""
    topology = Topology(replicas=1, stages=1, spares=0)
    own = Card("settings", "", visit="own", public="own")
    admission = Admission(own, topology, open_roster("own", None, (), {}), (), {})
    sessions = Sessions(None, None, "job", admission, 5.0, ranks=2, least=1)
    cards = {name: Card("settings", "", visit=name, public=name) for name in ("node", "spare0")}
    admitted = Admitted({"coordinator": own, **cards})
    fleet = _fleet_of(admission.roster)
    fleet.enter, fleet.greet = lambda admitted: [], lambda: ["spare0"]
    monitor = SimpleNamespace(tell=lambda *_: None)
    renew(3, fleet, _sessions(lambda *_: admitted, note=sessions.note), None, monitor)
    absences = sessions._absences
    assert [absences.is_out(key) for key in ("node", "spare0", "the next key")] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("rings", "dead", "returns"),
    [
        ([0, 0, 2], ["a", "b"], True),
        ([0, 1, 1], ["a", "b"], True),
        ([0, 0, 0], ["a", "b"], False),
        ([0, 0, 1], [], False),
    ],
    ids=["all ring", "some ring", "nobody rings", "all have left, or are banned"],
)
def test_a_coordinator_without_a_replica_waits_for_those_that_are_gone(
    rings: list[int],
    dead: list[str],
    returns: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(membership, "_OTHERS_S", 0.3)
    heard = iter(rings)
    rendezvous = type("", (), {"rings": property(lambda _: next(heard, rings[-1]))})()
    said: list[str] = []
    fleet = SimpleNamespace(dead=dead, meanwhile=lambda: None)
    until = time.monotonic() + 1
    sessions = SimpleNamespace(rendezvous=rendezvous)
    assert membership.await_return(fleet, sessions, until, said.append) is returns
    waited = {f"no replica is left: waiting for {', '.join(dead)} to come back"}
    assert set(said) == (waited if dead else set())


def test_when_one_has_come_back_the_others_have_a_moment_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    sessions = SimpleNamespace(rendezvous=SimpleNamespace(rings=1))
    fleet = SimpleNamespace(dead=["a", "b"], meanwhile=lambda: None)
    assert membership.await_return(fleet, sessions, 60.0, lambda _: None)
    assert now[0] == pytest.approx(membership._OTHERS_S, abs=0.2)


@pytest.mark.parametrize("dead", [True, False])
@pytest.mark.parametrize("said_so", [True, False])
def test_who_is_dead_and_has_said_so_has_left(dead: bool, said_so: bool) -> None:
    fleet = SimpleNamespace(nodes={"a": Peer("a", 1, dead=dead)})
    sessions = SimpleNamespace(rendezvous=SimpleNamespace(has_left=lambda _: said_so))
    membership.note_farewells(fleet, sessions)
    assert fleet.nodes["a"].left is (dead and said_so)
