"""Whatever others write on cards, an honest process takes no place but its own, and no refusal of
others for its own: it would sign in another's name, and be banned for that."""

import itertools
from dataclasses import replace

import msgspec
import pytest

from tdml.members.admission import Admission, open_roster
from tdml.members.cards import Card, Decision, read
from tdml.node.worker import METHODS
from tdml.protocol.identity import Identity, new_job
from tdml.settings.schema import Topology
from tdml.wire.channel import Caller, Listener, NoAnswer, Offence, Session
from tdml.wire.guard import Refusals

_COORDINATOR, _LIAR, _HONEST = Identity.new(), Identity.new(), Identity.new()
_AT = Session(new_job(_COORDINATOR.public), "session")
_OWN = Card("settings", "", visit="coordinator", public=_COORDINATOR.public)
_HONEST_CARD = Card("settings", "", rank=2, visit="honest").signed(_HONEST, "session")
_FORGED = replace(_HONEST_CARD, rank=1, signature="")
_LIES = {
    "its visit": _HONEST_CARD.signed(_LIAR, "session"),
    "its visit, and a lower rank": replace(_HONEST_CARD, rank=1).signed(_LIAR, "session"),
    "its visit, and no rank": replace(_HONEST_CARD, rank=None).signed(_LIAR, "session"),
    "its visit, other settings": replace(_HONEST_CARD, fingerprint="").signed(_LIAR, "session"),
    "its visit, an error": replace(_HONEST_CARD, rank=1, error="no").signed(_LIAR, "session"),
    "its visit, nobody's": replace(_FORGED, public=""),
    "its visit and its key": _FORGED,
    "its visit, its key, another signature": replace(
        _FORGED, signature=_LIAR.sign(b"tdml card")
    ),
    "its visit, its key, an error": replace(_FORGED, error="planted"),
    "its card": _HONEST_CARD,
    "its card of another session": _HONEST_CARD.signed(_HONEST, "earlier"),
}  # fmt: skip


def _decide(cards: list[Card], first: bool) -> tuple[Admission, Decision]:
    """What the coordinator decides, which knows both keys unless the job starts."""
    roster = open_roster(_COORDINATOR.public, None, (), {})
    if not first:
        roster.keys.update({"r0.s0": _LIAR.public, "r1.s0": _HONEST.public})
    topology = Topology(replicas=2, stages=1, spares=0)
    admission = Admission(_OWN, topology, roster, (), {})
    admitted = admission.admit(cards, "session", (), first)
    return admission, admitted.decision(_AT).signed(_COORDINATOR)


@pytest.mark.parametrize(
    ("lie", "first"),
    # other settings end the job at its start
    [
        (lie, first)
        for lie in _LIES
        for first in (True, False)
        if "settings" not in lie or not first
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_an_honest_process_answers_in_its_own_name_only(
    lie: str, before: bool, first: bool
) -> None:
    lies = [_LIES[lie], replace(_OWN, visit="liar", rank=1).signed(_LIAR, "session")]
    cards = [*lies, _HONEST_CARD] if before else [_HONEST_CARD, *lies]
    admission, decision = _decide(cards, first)
    place = decision.place(_HONEST_CARD)
    assert place is not None
    name = decision.members[place].name
    assert admission.roster.keys[name] == _HONEST.public
    for node in admission.roster.keys:
        assert not _accused(admission, name, node)


def _accused(admission: Admission, name: str, node: str) -> list[Offence]:
    """What the answer of the honest process, under that name, to an order for a node proves."""
    caller = Caller(_COORDINATOR, _AT, admission.roster.keys, METHODS)
    counter, order = caller.order(node, "progress", ())
    listener = Listener(_HONEST, _AT, name, _COORDINATOR.public, METHODS, lambda *_: 0, Refusals())
    answer = listener.obey(order.header, order.tensors, order.signature)
    try:
        assert caller.read(node, counter, "progress", answer) == 0
    except NoAnswer:
        assert node != name
    return [each for each in caller.take_offences() if each.proven]


@pytest.mark.parametrize("count", [1, 2])
def test_an_honest_process_that_is_left_out_for_once_hears_no_refusal_of_others(count: int) -> None:
    """Or it would leave a running job."""
    for lies in itertools.combinations(_LIES.values(), count):
        if _HONEST_CARD not in lies:
            _, decision = _decide([*lies], first=False)
            assert decision.place(_HONEST_CARD) is None
            assert decision.reason(_HONEST_CARD) is None


def test_who_is_refused_hears_why_whether_its_card_was_signed_or_not() -> None:
    wrong = replace(_HONEST_CARD, fingerprint="others").signed(_HONEST, "session")
    unable = Card("settings", "", rank=1, visit="unable", error="no data")
    _, decision = _decide([wrong, unable], first=False)
    assert "other settings" in (decision.reason(wrong) or "")
    assert decision.reason(unable) == "no data"
    assert read(msgspec.json.encode(decision), Decision) == decision
