"""However many cards there are, however long, and whatever is on them, what comes of them is short,
can be shown, and takes no longer for each."""

import gc
import json
import time
from dataclasses import asdict, replace

import msgspec
import pytest

from tdml.data.contents import Contents
from tdml.members.admission import Admission, Admitted, open_roster
from tdml.members.cards import Card, read_card
from tdml.members.names import Names
from tdml.members.owners import Owners
from tdml.protocol.identity import Identity
from tdml.settings.schema import Topology
from tdml.wire.channel import Session

_ME, _OTHER = Identity.new(), Identity.new()
_OWN = Card("settings 1", "", code="tdml 1", visit="own", public=_ME.public)
_TOPOLOGY = Topology(replicas=2, stages=1, spares=1)
_STORE = 8 * 2**20  # bytes that it takes at a time
_NASTY = "\x1b[2J\x1b]0;owned\x07 hello\r\nsecond\u2028third\u202e\x9b31m"


def _admission(topology: Topology = _TOPOLOGY, owners: Owners | None = None) -> Admission:
    return Admission(_OWN, topology, open_roster(_ME.public, None, (), {}), (), {}, owners)


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("visit", 65),
        ("public", 66),
        ("signature", 130),
        ("fingerprint", 2**18),
        ("code", 2**18),
        ("error", 2_001),
    ],
)
def test_a_card_with_words_that_are_too_long_is_nobodys(name: str, length: int) -> None:
    card = Card("settings", "", visit="visit").signed(_ME, "session")
    assert read_card(msgspec.json.encode(card)) == card
    long = json.dumps(asdict(card) | {name: "0" * length}).encode()
    assert read_card(long) == Card(fingerprint="", gpu="")


@pytest.mark.parametrize("other", ["A", " ", "\n", "g"])
def test_a_key_is_written_in_one_way_only(other: str) -> None:
    """Or one that is banned would come back in capitals."""
    card = Card("settings", "").signed(_ME, "session")
    for public in (other * 64, card.public[:-1] + other, card.public + other):
        said = json.dumps(asdict(card) | {"public": public}).encode()
        assert read_card(said) == Card(fingerprint="", gpu="")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("signed", [True, False])
def test_the_decision_fits_into_the_store_whoever_is_refused(
    first: bool, signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    worst = Card("settings 1", "", public="f" * 64, visit="\x7f" * 64, error="\x1b" * 300)
    assert read_card(msgspec.json.encode(worst)) == worst
    monkeypatch.setattr(Card, "is_signed", lambda card, session: signed)
    admission = _admission()
    admitted = admission.admit([worst] * 20_000, "session", (), first)
    decision = admitted.decision(Session("job", "session")).signed(_ME)
    assert len(msgspec.json.encode(decision)) < _STORE / 2
    assert len(admitted.faults) + len(admission.roster.refused) < 10


def test_ranks_that_nobody_has_fill_neither_the_ledger_nor_the_terminal() -> None:
    admission = _admission()
    cards = [Card("settings 1", "", rank=rank, visit=f"{rank}") for rank in range(1, 3_000)]
    admitted = admission.admit([*cards, Card("settings 1", "")], "session", (), first=True)
    assert len(admitted.faults) == len(admission.roster.refused) <= 1_000


def test_no_more_strangers_are_let_in_at_a_border_than_the_job_has_places_for() -> None:
    admission = _admission(Topology(replicas=2, max_replicas=3, stages=2, spares=4))
    keys = [Identity.new() for _ in range(25)]
    cards = [
        Card("settings 1", "", code="tdml 1", visit=f"{number}").signed(key, "session")
        for number, key in enumerate(keys)
    ]
    admitted = admission.admit(cards, "session", (), first=False)
    assert len(admitted.present) == 10
    decision = admitted.decision(Session("job", "session"))
    left = [card for card in cards if decision.place(card) is None]
    assert [decision.reason(card) for card in left] == [None] * 15, "they come again"
    again = admission.admit(cards, "session", (), first=False)
    assert len(again.present) == 20, "whoever is known is no stranger"
    assert again.present.keys() > admitted.present.keys()


def test_at_border_after_border_no_more_are_let_in_than_a_session_has_room_for() -> None:
    """Each takes files of the coordinator; who was there before them keeps its place."""
    roster = open_roster(_ME.public, None, (), {})
    admission = Admission(_OWN, _TOPOLOGY, roster, (), {}, room=5)
    node = replace(_OWN, rank=1, visit="node").signed(_OTHER, "session")
    admission.admit([node], "session", (), first=True)
    strangers = [replace(_OWN, visit=f"{n}").signed(Identity.new(), "session") for n in range(9)]
    for _ in range(3):
        admitted = admission.admit([*strangers, node], "session", (), first=False)
        assert len(admitted.members) == 5 and admitted.members["r0.s0"] == node
        assert admitted.refused == ()


def test_whoever_says_that_it_has_the_first_rank_keeps_no_other_rank_out() -> None:
    admission = _admission()
    ranks = [1, *[1] * 9, 2, 3]  # of a stranger each, but for the first of each rank
    cards = [
        replace(_OWN, rank=rank, visit=f"{place}").signed(Identity.new(), "session")
        for place, rank in enumerate(ranks)
    ]
    admitted = admission.admit(cards, "session", (), first=True)
    there = {name: card.visit for name, card in admitted.members.items()}
    assert [there.get(name) for name in ("r0.s0", "r1.s0", "spare0")] == ["0", "10", "11"]


def _nasty_cards() -> list[Card]:
    """One for each way to be refused, with words of one's own."""
    long = (_NASTY * 100)[:2_000]
    plain = replace(_OWN, public="", visit="nasty")
    data = Contents(10, 1, "", "", "", "", form=long)
    return [
        replace(plain, error=long),
        replace(plain, error="\n"),
        replace(plain, fingerprint=f"{long} 1").signed(_OTHER, "session"),
        replace(plain, fingerprint=f"\x1b[2J\x07 1\n{_NASTY} 2").signed(_OTHER, "session"),
        replace(plain, code=f"\x1b[2J\x07 1\n{_NASTY} 2").signed(_OTHER, "session"),
        replace(plain, data=data, rank=1).signed(_OTHER, "session"),
        replace(plain, rank=7, error=long),
    ]


@pytest.mark.parametrize("card", _nasty_cards())
@pytest.mark.parametrize("first", [True, False])
def test_what_strangers_write_on_their_cards_controls_no_terminal(card: Card, first: bool) -> None:
    owners = Owners(_TOPOLOGY, "plain", [], least=1) if card.data else None
    admission = _admission(owners=owners)
    admitted = _admit(admission, card, first)
    shown = [*admitted.faults.values(), *admission.roster.refused.values()]
    shown += [each.reason for each in admitted.refused]
    assert shown
    for text in (*shown, *admitted.faults, *admission.roster.refused):
        assert text.isprintable()
        assert len(text) <= 1_000


def _admit(admission: Admission, card: Card, first: bool) -> Admitted:
    """With one that joins, or a first session would end with the reason."""
    if first and not card.error:
        card = replace(card, rank=None).signed(_OTHER, "session")
    joining = replace(_OWN, visit="joins").signed(Identity.new(), "session")
    return admission.admit([card, joining], "session", (), first)


def test_a_card_takes_no_longer_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a job with room for all of them; the signatures are not what is measured."""
    monkeypatch.setattr(Card, "is_signed", lambda card, session: True)

    def seconds(count: int) -> float:
        admission = _admission(Topology(replicas=count, stages=1, spares=0))
        cards = [replace(_OWN, public=f"{n:064}", visit=f"{n}") for n in range(count)]
        gc.disable()  # which looks through all that other tests have left
        start = time.process_time()
        admitted = admission.admit(cards, "session", (), first=False)
        took = time.process_time() - start
        gc.enable()
        assert len(admitted.present) == count
        return took

    few, many = (min(seconds(count) for _ in range(3)) for count in (500, 8_000))
    assert many < 16 * 5 * few  # were it the square: 256


def test_names_that_are_known_are_not_looked_for_in_all_of_them() -> None:
    roster = open_roster(_ME.public, None, (), {f"spare{n}": f"{n:064}" for n in range(50)})
    names = Names(roster, {}, _TOPOLOGY)
    stranger = Card("settings 1", "", public="f" * 64)
    assert names.name_for(stranger, True, {}) == "spare50"
    names.take("spare50", stranger.public)
    assert names.name_for(stranger, True, {}) == "spare50"
    assert names.name_for(replace(stranger, public="e" * 64), True, {}) == "spare51"
