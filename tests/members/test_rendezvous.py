"""Cards, calls and decisions: nobody can make one for a key that is not theirs."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from tdml.errors import SettingError
from tdml.members import rendezvous
from tdml.members.cards import Call, Card, Decision, EndOfRun, Member, Over, Refusal, read_card
from tdml.members.rendezvous import Rendezvous
from tdml.protocol.identity import Identity
from tdml.wire.channel import Session
from tests.jobs import free_port

pytestmark = pytest.mark.timeout(30)
_ME, _OTHER = Identity.new(), Identity.new()
_AT = Session("job", "session")
_VISIT = "aa" * 16  # of the coordinator


def test_card_counts_for_its_key_rank_visit_and_session_only() -> None:
    card = Card("settings", "", rank=3, visit="visit").signed(_ME, "session")
    assert card.public == _ME.public
    assert card.is_signed("session")
    assert not card.is_signed("earlier")
    for altered in (
        replace(card, public=_OTHER.public),
        replace(card, fingerprint="others"),
        replace(card, gpu="other"),
        replace(card, signature=""),
        Card("settings", ""),
        replace(card, rank=4),
        replace(card, rank=None),
        replace(card, visit="other"),
        replace(card, error="planted"),
    ):
        assert not altered.is_signed("session")


def test_card_that_cannot_be_read_is_nobodys() -> None:
    for data in (b"", b"{}", b"[" * 10_000, b'{"fingerprint": 1, "gpu": ""}', b"\xff"):
        assert not read_card(data).is_signed("session")


def test_call_counts_as_it_was_signed_only() -> None:
    call = Call("session").signed(_ME)
    assert call.is_signed()
    assert not replace(call, session="other").is_signed()
    assert not replace(call, public=_OTHER.public).is_signed()


def test_decision_counts_as_it_was_signed_only() -> None:
    members = (Member("coordinator", "a", _ME.public), Member("r0.s0", "b", _OTHER.public))
    refused = (Refusal("c", _ME.public, "banned"),)
    decision = Decision(None, _AT, members, refused).signed(_ME)
    assert decision.public == _ME.public
    assert decision.is_signed()
    for altered in (
        replace(decision, public=_OTHER.public),
        replace(decision, members=members[:1]),
        replace(decision, refused=()),
        replace(decision, at=Session("job", "other")),
        replace(decision, at=Session("other", "session")),
        replace(decision, members=(members[0], replace(members[1], visit="c"))),
        replace(decision, members=(members[0], replace(members[1], public=_ME.public))),
        replace(decision, signature=_OTHER.sign(b"")),
        replace(decision, error="planted"),
        replace(decision, attempt=7),
    ):
        assert not altered.is_signed()


def test_end_counts_as_it_was_signed_only() -> None:
    end = EndOfRun(0, "job", 2, "visit").signed(_ME)
    assert end.is_signed()
    fields = {"status": 1, "job": "other", "attempt": 3, "visit": "other", "public": _OTHER.public}
    for altered in ({name: value} for name, value in fields.items()):
        assert not replace(end, **altered).is_signed()


def _called(
    coordinator: Rendezvous, come: Callable[[], Rendezvous]
) -> tuple[Rendezvous, Rendezvous, Card]:
    """The coordinator has called to a first session, and a worker has answered."""
    coordinator.call("first", _ME)
    worker = come()
    assert worker.await_call(None) == "first"
    card = Card("settings", "", rank=1, visit=worker.visit).signed(_OTHER, "first")
    worker.enter(card)
    return coordinator, worker, card


def _decision(coordinator: Rendezvous, worker: Rendezvous) -> Decision:
    """Both take part in the first session."""
    members = (
        Member("coordinator", coordinator.visit, _ME.public),
        Member("r0.s0", worker.visit, _OTHER.public),
    )
    return Decision(None, Session("job", "first"), members).signed(_ME)


def test_who_comes_after_a_call_still_answers_it(both) -> None:
    coordinator, worker, handed_in = _called(*both)
    [card] = coordinator.cards(len)
    assert card == handed_in
    assert coordinator.rings == 0
    coordinator.announce(_decision(coordinator, worker))
    decision = worker.await_decision(None)
    assert decision is not None
    assert decision.place(card) == 1
    assert not worker.called(_ME.public)


def test_a_decision_that_nobody_has_signed_is_none(both) -> None:
    coordinator, worker, _ = _called(*both)
    coordinator.announce(replace(_decision(coordinator, worker), signature=""))
    with pytest.raises(SettingError, match="is not signed: somebody else writes"):
        worker.await_decision(None)


def test_who_was_cut_off_answers_no_call_twice_and_rings(both) -> None:
    coordinator, worker, _ = _called(*both)
    coordinator.announce(_decision(coordinator, worker))
    worker.return_to(timeout=10, silence=5)
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.append(worker.await_call(_ME.public)))
    waiting.start()
    while not coordinator.rings:
        waiting.join(0.05)
    assert not found
    coordinator.call("second", _ME)
    waiting.join(10)
    assert found == ["second"]


def test_a_store_in_the_place_of_another_has_no_calls_that_were_answered(
    both, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator, come = both
    for session in ("first", "second", "third"):
        coordinator.call(session, _ME)
    worker = come()
    assert worker.await_call(None) == "third"
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    other = Rendezvous(0, 2)
    other.call("the first of the next", _ME)
    worker.return_to(timeout=10, silence=5)
    assert worker.await_call(_ME.public) == "the first of the next"


def test_cards_do_not_pile_up_in_the_store(both) -> None:
    coordinator, come = both
    worker = come()
    for number in range(20):
        coordinator.call(f"session {number}", _ME)
        assert worker.await_call(_ME.public) == f"session {number}"
        worker.enter(Card("settings" * 100, "", rank=1).signed(_OTHER, f"session {number}"))
        assert len(coordinator.cards(len)) == 1
        assert not [key for key in coordinator.store.list_keys() if key.startswith("card/")]
        coordinator.announce(Decision(None, Session("job", f"session {number}")).signed(_ME))
        assert worker.await_decision(None) is not None


def test_who_comes_while_a_session_goes_on_rings_and_is_called_to_the_next(both) -> None:
    coordinator, come = both
    coordinator.call("first", _ME)
    coordinator.announce(Decision(None, Session("job", "first")).signed(_ME))
    late = come(None)
    assert late.await_call(None) == "first"
    decision = late.await_decision(None)
    assert decision is not None
    assert decision.place(Card("settings", "", visit=late.visit)) is None
    heard: list[str] = []
    ringing = threading.Thread(target=lambda: heard.append(late.await_call(_ME.public)))
    ringing.start()
    while not coordinator.rings:
        threading.Event().wait(0.01)
    coordinator.call("second", _ME)
    ringing.join(10)
    assert heard == ["second"]


def test_who_has_said_goodbye_is_known_by_its_visit(both) -> None:
    coordinator, come = both
    one, other = come(), come(None)
    one.say_goodbye()
    assert coordinator.has_left(one.visit)
    assert not coordinator.has_left(other.visit)


def test_a_goodbye_to_a_store_that_is_gone_takes_no_time(
    both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The coordinator may have got the same signal, and have ended."""
    _, come = both
    one = come()
    monkeypatch.setenv("MASTER_PORT", str(free_port()))  # where nobody listens any more
    start, before = time.monotonic(), threading.enumerate()
    one.say_goodbye()
    assert time.monotonic() - start < 10
    for thread in set(threading.enumerate()) - set(before):
        thread.join(15)  # in torch when Python ends it would take the process down with it


def test_a_stranger_at_the_store_calls_nobody_out_of_a_session(
    both, capsys: pytest.CaptureFixture
) -> None:
    coordinator, come = both
    coordinator.call("first", _ME)
    worker, stranger = come(), come(None)
    worker.await_call(None)
    stranger.call("theirs", _OTHER)
    for said in ("[" * 10_000, json.dumps(asdict(Call("theirs", public=_ME.public)))):
        assert not worker.called(_ME.public)
        stranger.store.set("call", said)
    assert not worker.called(_ME.public)
    said = capsys.readouterr().err
    assert said.startswith(f"tdml: a call to a session that is signed by '{_OTHER.public}' and not")
    assert _ME.public in said
    assert said.count("\n") == 1
    coordinator.call("second", _ME)
    assert worker.await_call(_ME.public) == "second"


def test_a_start_that_failed_is_no_call(both, capsys: pytest.CaptureFixture) -> None:
    coordinator, come = both
    coordinator.call("first", _ME)
    worker = come()
    worker.await_call(None)
    coordinator.call("of a start that fails")
    assert not worker.called(_ME.public)
    assert "is signed by nobody, as where a start has failed," in capsys.readouterr().err


def test_who_waits_hears_that_the_run_is_over(both) -> None:
    coordinator, come = both
    worker = come(None)
    coordinator.end(75, _AT, _ME, [], [])
    with pytest.raises(Over) as over:
        worker.await_call(None)
    assert over.value.status == 75


@pytest.mark.parametrize(
    "said",
    [
        "0 0", "", "{}", "[]", '{"status": 0, "job": "job", "attempt": 99}',
        json.dumps(asdict(EndOfRun(0, "job", 99, _VISIT).signed(_OTHER))),
        json.dumps(asdict(EndOfRun(0, "another", 99, _VISIT).signed(_ME))),
        json.dumps(asdict(EndOfRun(75, "job", 99, "another visit").signed(_ME))),
        json.dumps(asdict(replace(EndOfRun(0, "job", 99, _VISIT).signed(_OTHER), public=_ME.public))),
    ],
    ids=["text", "nothing", "empty", "list", "unsigned", "another's", "of another job",
         "of an earlier part of the run", "forged"],
)  # fmt: skip
def test_only_the_coordinator_can_end_a_run(both, said: str) -> None:
    coordinator, come = both
    worker = come(None)
    coordinator.visit = _VISIT
    worker.heeds = (_ME.public, "job", _VISIT)
    coordinator.store.set("over", said)
    assert coordinator.store.check(["over"])  # the answer comes once it is there
    assert worker.status() is None
    coordinator.end(0, _AT, _ME, [], [])
    assert worker.status() == 0


def test_what_a_former_self_of_the_job_has_left_says_nothing(
    both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun starts all ranks again, and its store has the keys of those before."""
    coordinator, come = both
    monkeypatch.setattr(rendezvous, "_FAREWELL_S", 0)
    coordinator.end_with("planted")
    coordinator.end(1, _AT, _ME, [], [])
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    again, worker = Rendezvous(0, 2), come()
    assert worker.status() is None
    worker.await_call(None)
    assert worker.await_decision(None) is None
    again.call("second", _ME)
    assert worker.await_call(None) == "second"
