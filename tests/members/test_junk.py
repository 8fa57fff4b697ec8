"""What anybody may write to the job's store ends nothing for those who know their coordinator."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from tdml.members import rendezvous
from tdml.members.cards import Call, Card, Decision, EndOfRun, Member, Refusal
from tdml.members.rendezvous import Rendezvous
from tdml.node import main_thread
from tdml.node.main_thread import Ending, MainThread
from tdml.protocol.identity import Identity, new_job
from tdml.wire.channel import Session

pytestmark = pytest.mark.timeout(60)
_ME, _OTHER = Identity.new(), Identity.new()
_JOB = new_job(_ME.public)
_AT = Session(_JOB, "next")
_TEXTS = [
    b"", b"{", b"[]", b"null", b"7", b"\xff", b'{"session": "\xff"}', b'{"error": "\xff"}',
    b"[" * 10**5, b'{"session": "\\ud800"}', b'{"session": 7}', b'{"status": 1e400}',
    b'{"session": "x", "public": "y"}',
    json.dumps({"session": "x" * 10**6}).encode(), json.dumps({"attempt": 2**70}).encode(),
    json.dumps({"status": 2**60, "job": _JOB, "attempt": 2**60}).encode(),
]  # fmt: skip


def _said_by_others(said: Call | Decision | EndOfRun) -> list[bytes]:
    """The same, of whoever is not the coordinator."""
    forged = (
        said,
        said.signed(_OTHER),
        replace(said.signed(_OTHER), public=_ME.public),
        replace(said, public=_ME.public),
        replace(said, public=_ME.public, signature="0" * 128),
    )
    return [msgspec.json.encode(each) for each in forged]


@pytest.fixture
def met(both, monkeypatch: pytest.MonkeyPatch) -> tuple[Rendezvous, Rendezvous]:
    """A coordinator, and a worker in a session of its. All look often at what is written."""
    monkeypatch.setattr(main_thread, "_CHECK_S", 0.002)
    monkeypatch.setattr(rendezvous, "_POLL_S", 0.002)
    coordinator, come = both
    coordinator.call("first", _ME)
    worker = come()
    assert worker.await_call(None) == "first"
    worker.heeds = (_ME.public, _JOB, coordinator.visit)
    worker.bound_silence(20, 20)
    return coordinator, worker


def _write(coordinator: Rendezvous, key: str, junk: bytes) -> None:
    coordinator.store.set(key, junk)
    assert coordinator.store.check([key])  # the answer comes once it is there


def test_a_worker_in_a_session_hears_the_coordinator_alone(met) -> None:
    coordinator, worker = met
    junk = [
        *_TEXTS,
        *_said_by_others(Call("next")),
        *_said_by_others(EndOfRun(1, _JOB, 9, coordinator.visit)),
    ]
    past = msgspec.json.encode(Call("first").signed(_ME))
    for key in ("call", "over", "beats"):
        for said in (*junk, past):
            _write(coordinator, key, said)
            assert not worker.called(_ME.public)
            assert worker.status() is None
    coordinator.call("next", _ME)
    assert worker.called(_ME.public)


def test_what_is_written_where_the_next_call_will_be_leaves_no_worker_behind(met) -> None:
    coordinator, worker = met

    def ending() -> Ending | int | None:
        return Ending.CALLED if worker.called(_ME.public) else worker.status()

    served: list[object] = []
    main = MainThread(ending, lambda: None)
    serving = threading.Thread(target=lambda: served.append(main.serve()), daemon=True)
    serving.start()
    for said in (*_TEXTS, *_said_by_others(Call("next"))):
        _write(coordinator, "call", said)
        serving.join(0.03)
    assert serving.is_alive()
    coordinator.call("next", _ME)
    serving.join(10)
    assert served == [Ending.CALLED]


def _heard(waiting: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    heard: list[object] = []
    thread = threading.Thread(target=lambda: heard.append(waiting()), daemon=True)
    thread.start()
    return thread, heard


def test_who_waits_for_a_decision_takes_the_coordinators_on_the_call_it_has_answered(met) -> None:
    coordinator, worker = met
    coordinator.call("next", _ME)
    assert worker.await_call(_ME.public) == "next"
    card = Card("settings", "", rank=1, visit=worker.visit).signed(_OTHER, "next")
    worker.enter(card)
    out = (Refusal(card.visit, card.public, "planted"),)
    junk = [
        *_TEXTS, *_said_by_others(Decision("planted", _AT)),
        *_said_by_others(Decision(None, _AT, (), out)),
        msgspec.json.encode(Decision(None, Session(_JOB, "first"), (), out).signed(_ME)),
        msgspec.json.encode(Decision("of another time", Session("", "first")).signed(_ME)),
    ]  # fmt: skip
    waiting, heard = _heard(lambda: worker.await_decision(_ME.public))
    for said in junk:
        _write(coordinator, "decision/next", said)
        waiting.join(0.03)
        assert waiting.is_alive()
    members = (Member("r0.s0", worker.visit, card.public),)
    coordinator.announce(true := Decision(None, _AT, members).signed(_ME))
    waiting.join(10)
    assert heard == [true]


def test_a_decision_that_somebody_keeps_overwriting_ends_with_the_next_call(met) -> None:
    coordinator, worker = met
    coordinator.call("next", _ME)
    assert worker.await_call(_ME.public) == "next"
    _write(coordinator, "decision/next", b"{")
    waiting, heard = _heard(lambda: worker.await_decision(_ME.public))
    coordinator.call("after that", _ME)
    waiting.join(10)
    assert heard == [None]
    assert worker.await_call(_ME.public) == "after that"


def test_a_coordinator_whose_start_fails_says_so_to_those_who_know_it(
    met, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "_FAREWELL_S", 0)
    coordinator, worker = met
    coordinator.call("next", _ME)
    assert worker.await_call(_ME.public) == "next"
    coordinator.end_with("no such model")
    decision = worker.await_decision(_ME.public)
    assert decision is not None
    assert decision.error == "no such model"
