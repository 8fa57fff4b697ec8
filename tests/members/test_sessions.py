"""Whom the coordinator waits for when it has called."""

from collections.abc import Callable, Collection
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tdml.members import sessions as module
from tdml.members.admission import Admission, open_roster
from tdml.members.cards import Card
from tdml.members.sessions import Sessions
from tdml.protocol.identity import Identity
from tdml.settings.schema import Topology

_ME, _OTHER, _HONEST = Identity.new(), Identity.new(), Identity.new()
_SECOND = 1.0
_EVERY = 10.0  # seconds


def _forgeries(card: Card) -> list[Card]:
    """What others can hand in with that card's key, rank and visit."""
    return [
        replace(card, signature=""),
        replace(card, signature="0" * 128),
        replace(card.signed(_OTHER, "now"), public=card.public),
        card.signed(_HONEST, "earlier"),
    ]


class _Store:
    """Forged cards come at once, and the true one a second later. Time passes as it is asked."""

    def __init__(self, true: Card, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.world_size = 0.0, 2
        self._true = true
        self.strangers: list[Card] = []  # who come after one another
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)

    def cards(self, ended: Callable[[Collection[Card]], bool]) -> list[Card]:
        cards = {}
        while not ended(cards.values()):
            self.now += _SECOND / 10
            strangers = self.strangers[: 1 + int(self.now / _EVERY)]
            true = [self._true] if self.now >= _SECOND else []
            here = [*_forgeries(self._true), *strangers, *true]
            cards = dict(enumerate(here))
        return list(cards.values())


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> tuple[Sessions, Card]:
    return _open(monkeypatch)


def _open(
    monkeypatch: pytest.MonkeyPatch,
    ranks: int = 2,
    given: dict[str, str] | None = None,
    **former: str,
) -> tuple[Sessions, Card]:
    topology = Topology(replicas=1, stages=1, spares=0)
    own = Card("settings", "", visit="own", public=_ME.public)
    admission = Admission(own, topology, open_roster(_ME.public, given, (), {}), (), former)
    true = Card("settings", "", rank=1, visit="true").signed(_HONEST, "now")
    store = _Store(true, monkeypatch)
    opened = Sessions(store, _ME, "job", admission, 5.0, ranks=ranks, least=1)
    opened.at = SimpleNamespace(session="now")
    return opened, true


def _strangers(rank: int | None, count: int) -> list[Card]:
    cards = (Card("settings", "", rank=rank, visit=f"stranger {n}") for n in range(count))
    return [card.signed(Identity.new(), "now") for card in cards]


def test_at_a_border_a_card_that_its_key_has_not_signed_is_nobodys_answer(opened) -> None:
    sessions, true = opened
    assert true in sessions._answers({true.public}, rang=0)
    assert _SECOND <= sessions.rendezvous.now < 2 * _SECOND


def test_at_a_border_a_card_that_its_key_has_not_signed_is_no_ringers(opened) -> None:
    sessions, true = opened
    assert true in sessions._answers(set(), rang=1)
    assert _SECOND <= sessions.rendezvous.now < 2 * _SECOND


def test_at_the_start_a_card_that_its_key_has_not_signed_is_no_ranks(opened) -> None:
    sessions, true = opened
    admitted = sessions.first(lambda missing: None)
    assert admitted.members["r0.s0"] == true


def test_when_a_run_goes_on_strangers_who_are_first_have_nobodys_rank(monkeypatch) -> None:
    sessions, true = _open(monkeypatch, **{"r0.s0": _HONEST.public})
    sessions.rendezvous.strangers = _strangers(1, 1)
    admitted = sessions.first(lambda missing: None)
    assert admitted.members["r0.s0"] == true
    assert sessions.rendezvous.now < 2 * _SECOND


def test_who_has_a_given_rank_is_waited_for_whoever_says_that_he_has_it(monkeypatch) -> None:
    """Else its slot would be a spare's before it comes."""
    sessions, true = _open(monkeypatch, given={"r0.s0": _HONEST.public})
    sessions.rendezvous.strangers = _strangers(1, 1)
    admitted = sessions.first(lambda missing: None)
    assert admitted.members["r0.s0"] == true
    assert sessions.admission.roster.refused == {}


def test_when_a_run_goes_on_who_has_come_with_another_key_waits_a_moment(monkeypatch) -> None:
    sessions, true = _open(monkeypatch, **{"r0.s0": _OTHER.public})
    admitted = sessions.first(lambda missing: None)
    assert admitted.members["r0.s0"] == true
    assert sessions.rendezvous.now < 2 * module._SETTLED_S


def test_strangers_who_come_one_by_one_keep_no_run_from_going_on(monkeypatch) -> None:
    """Without those of its nodes that are gone."""
    sessions, true = _open(monkeypatch, ranks=3)
    sessions.rendezvous.strangers = _strangers(None, 100)
    admitted = sessions.first(lambda missing: None)
    assert admitted.members["r0.s0"] == true
    assert sessions.rendezvous.now < 2 * module._SETTLED_S


def test_each_signature_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(Card, "is_signed", lambda card, session: not looked.append(card.visit))
    cards, signed = {}, module._SignedCards("now")
    for number in range(20):
        cards[number] = Card("settings", "", visit=f"{number}")
        assert signed.among(cards.values()) == list(cards.values())
    assert looked == [f"{number}" for number in range(20)]
