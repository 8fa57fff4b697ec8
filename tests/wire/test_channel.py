"""Orders and answers: who signed them, how often they count, and what they may hold."""

from dataclasses import replace

import pytest
import torch
from blake3 import blake3

from tdml.data.pieces import Piece
from tdml.models.plan import Plan
from tdml.models.split import Border
from tdml.node.trace import Opening
from tdml.protocol.identity import Identity
from tdml.protocol.orders import (
    Assignment,
    Commitment,
    EvaluateOrder,
    Evaluation,
    Failure,
    RepeatOrder,
    Repetition,
    Shown,
    Slot,
    TrainOrder,
    TrainReport,
)
from tdml.wire.channel import _ANSWER, _ORDER, Answer, NoAnswer, Order, Session
from tdml.wire.codec import encode
from tdml.wire.guard import NOTHING, Envelope
from tests.wire.envelopes import AT, Pair

_PIECE = Piece("train", torch.arange(4), 2**63 + 5, torch.tensor([0, 3]))
_GIVEN = Piece(
    "validation", torch.arange(2), 0, torch.arange(2), (torch.rand(2, 3), torch.tensor([1, 0]))
)
_PLAN = Plan(
    (2, 5), (Border(torch.Size([4, 3, 8, 8]), torch.float32),) * 4, (500_000, 300_000, 200_000), 2
)
_LOG, _SIGNED = torch.arange(256, dtype=torch.uint8).view(2, 4, 32), ("", "ef" * 64)
_ORDERS = {
    "join": (Assignment(Slot(1, 0), 3, _PLAN, "gloo", ("r1.s0", "r1.s1"), ("ab" * 32, "cd" * 32)),),
    "load": (torch.randn(1000),),
    "train": (TrainOrder(2, 3, torch.arange(12).view(3, 4), "5e", (0, 1, 3), ("ab" * 32, "")),),
    "commit": (2,),
    "digests": ("update",),
    "reveal": ("state 1", 2),
    "hold": (0, torch.randn(5)),
    "repeat": (RepeatOrder(2, 5, 1, 4, True, torch.arange(8).view(2, 4), "5e", True, True, 1, (True, False)),),
    "evaluate": (EvaluateOrder(2, (_PIECE, _GIVEN), 2, check=True, log=True, nonce="5e"),),
    "stop": (3,),
}  # fmt: skip
_RESULTS = {
    "join": "a kind of machine",
    "train": TrainReport(float("inf")),
    "commit": Commitment("ab" * 32, "cd" * 32, ("12" * 32, "34" * 32), "ef" * 64),
    "digests": ("ab" * 32, "cd" * 32),
    "reveal": torch.randn(1000),
    "hold": None,
    "open": Opening(("ab" * 32,) * 3, _LOG, _SIGNED, "cd" * 32),
    "repeat": Repetition("ab" * 32, _LOG, _SIGNED, ("cd" * 32,) * 2),
    "shown": Shown((0, 3), ((torch.randn(2, 3), torch.randn(2, 3)), (torch.randn(4),))),
    "evaluate": Evaluation(torch.rand(7), torch.rand(7) < 0.5, _LOG, _SIGNED),
    "progress": 12,
    "refused": ["one", "two"],
}


@pytest.mark.parametrize("method", _ORDERS)
def test_orders_arrive_as_they_were_given(method: str) -> None:
    pair = Pair()
    pair.ask(method, *_ORDERS[method])
    assert pair.done[0][0] == method
    assert repr(pair.done[0][1]) == repr(_ORDERS[method])


@pytest.mark.parametrize("method", _RESULTS)
def test_results_come_back_as_they_were(method: str) -> None:
    pair = Pair(_RESULTS[method])
    found = pair.ask(method, *_ORDERS.get(method, ()))
    assert repr(found) == repr(_RESULTS[method])
    assert pair.caller.take_offences() == []
    assert pair.refusals.take() == []


@pytest.mark.parametrize(
    ("method", "words"), [("refused", ["x"] * 22), ("refused", ["x" * 301]), ("join", "x" * 301)]
)
def test_a_node_that_says_too_much_has_answered_with_something_else(
    method: str, words: object
) -> None:
    pair = Pair(words)
    assert isinstance(pair.ask(method, *_ORDERS.get(method, ())), Failure)
    (offence,) = pair.caller.take_offences()
    assert offence.proven
    assert len(offence.text) < 200


def test_an_order_is_obeyed_once() -> None:
    pair = Pair()
    _, order = pair.caller.order("a", "load", (torch.ones(3),))
    for _ in range(3):
        pair.listener.obey(order.header, order.tensors, order.signature)
    assert len(pair.done) == 1
    assert pair.refusals.take() == ["a replayed order to load", "2 refused in all"]
    assert pair.refusals.take() == []


def test_forged_altered_and_misdirected_orders_are_refused_without_a_signature() -> None:
    pair = Pair()
    _, good = pair.caller.order("a", "load", (torch.ones(3),))
    forged = pair.b.sign(_ORDER + good.header)
    as_answer = pair.coordinator.sign(_ANSWER + good.header)
    other_method = good.header.replace(b"load", b"stop")
    attempts = [
        (good.header, good.tensors, forged),
        (good.header, good.tensors, as_answer),
        (good.header, good.tensors, ""),
        (other_method, good.tensors, good.signature),
        (good.header, [torch.zeros(3)], good.signature),
        (good.header, [torch.ones(3, dtype=torch.int32)], good.signature),
        (good.header, [torch.ones(3, 1)], good.signature),
        (good.header, [], good.signature),
        (good.header, [*good.tensors, *good.tensors], good.signature),
        (good.header[:-1], good.tensors, good.signature),
        (b"", (), ""),
    ]
    for attempt in attempts:
        assert pair.listener.obey(*attempt) == NOTHING
    for listener in (
        pair.listen(Session("job", "later")),
        pair.listen(Session("other", "session")),
        pair.listen(AT, "b"),
    ):
        assert listener.obey(good.header, good.tensors, good.signature) == NOTHING
    assert pair.done == []
    pair.listener.obey(good.header, good.tensors, good.signature)
    assert len(pair.done) == 1, "none of the attempts may use up the order's number"


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("install", ()),
        ("__init__", ()),
        ("load", ()),
        ("load", (1,)),
        ("train", (TrainOrder(1, 1, torch.ones(1), "5e", (), ()), 1)),
    ],
)
def test_even_the_coordinator_can_order_only_what_there_is(method: str, arguments: tuple) -> None:
    pair = Pair()
    _, order = pair.caller.order("a", method, arguments)
    assert pair.listener.obey(order.header, order.tensors, order.signature) == NOTHING
    assert pair.done == []


def test_answer_of_another_node_convicts_who_signed_it() -> None:
    pair = Pair(torch.ones(3))
    counter, order = pair.caller.order("a", "reveal", _ORDERS["reveal"])
    answer = pair.listener.obey(order.header, order.tensors, order.signature)
    stolen = replace(answer, signature=pair.b.sign(_ANSWER + answer.header))
    with pytest.raises(NoAnswer):
        pair.caller.read("a", counter, "reveal", stolen)
    offence = pair.caller.take_offences()[0]
    assert (offence.node, offence.proven) == ("b", True)


def test_own_answer_sent_again_by_somebody_else_convicts_nobody() -> None:
    pair = Pair(torch.ones(3))
    counter, order = pair.caller.order("a", "reveal", _ORDERS["reveal"])
    answer = pair.listener.obey(order.header, order.tensors, order.signature)
    assert pair.caller.order("b", "reveal", _ORDERS["reveal"])[0] == counter
    with pytest.raises(NoAnswer):
        pair.caller.read("b", counter, "reveal", answer)
    offence = pair.caller.take_offences()[0]
    assert (offence.node, offence.proven) == ("b", False)


def test_what_a_node_has_signed_in_another_job_convicts_it_of_nothing() -> None:
    """There it had the name of another node of this job."""
    pair = Pair(torch.ones(3))
    elsewhere = Session("another job", "its session")
    caller = replace(pair.caller, at=elsewhere, keys={"b": pair.caller.keys["a"]})
    counter, order = caller.order("b", "reveal", _ORDERS["reveal"])
    answer = pair.listen(elsewhere, "b").obey(order.header, order.tensors, order.signature)
    caller.read("b", counter, "reveal", answer)
    assert pair.caller.order("b", "reveal", _ORDERS["reveal"])[0] == counter
    with pytest.raises(NoAnswer):
        pair.caller.read("b", counter, "reveal", answer)
    offence = pair.caller.take_offences()[0]
    assert (offence.node, offence.proven) == ("b", False)


def test_result_that_cannot_be_sent_is_a_failure() -> None:
    for result in (object(), 2**70):
        found = Pair(result).ask("reveal", *_ORDERS["reveal"])
        assert isinstance(found, Failure)
        assert "reveal has no result that can be sent" in found.message


def test_answer_that_nobody_signed_convicts_nobody() -> None:
    pair = Pair(torch.ones(3))
    counter, order = pair.caller.order("a", "reveal", _ORDERS["reveal"])
    answer = pair.listener.obey(order.header, order.tensors, order.signature)
    earlier, _ = pair.caller.order("a", "reveal", _ORDERS["reveal"])
    for_b, _ = encode(Answer(AT, "b", counter, None, b"\xc0", ()))
    attempts = [
        (counter, NOTHING),
        (counter, Envelope(for_b, (), pair.a.sign(_ANSWER + for_b))),
        (counter, replace(answer, signature=Identity.new().sign(_ANSWER + answer.header))),
        (counter, replace(answer, tensors=[torch.zeros(3)])),
        (counter, replace(answer, header=answer.header + b"x")),
        (earlier, answer),
        (counter, replace(order, signature=pair.a.sign(_ANSWER + order.header))),
    ]
    for number, attempt in attempts:
        with pytest.raises(NoAnswer):
            pair.caller.read("a", number, "reveal", attempt)
        offence = pair.caller.take_offences()[0]
        assert (offence.node, offence.proven) == ("a", False)
    assert torch.equal(pair.caller.read("a", counter, "reveal", answer), torch.ones(3))


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("progress", "many"),
        ("reveal", None),
        ("commit", 3),
        ("train", torch.ones(3)),
        ("evaluate", [1, 2]),
        ("refused", [1]),
        ("digests", ("zz",)),
        ("join", 0),
        ("digests", ("",)),  # what is no digest binds nobody
        ("commit", Commitment("", "cd" * 32, ("12" * 32,), "ef" * 64)),
        ("commit", Commitment("ab" * 32, "cd" * 32, ("",), "ef" * 64)),
        ("open", Opening(("ab" * 32, ""), _LOG, _SIGNED)),
        ("repeat", Repetition("", _LOG, _SIGNED, ())),
        ("repeat", Repetition("ab" * 32, _LOG, _SIGNED, ("",))),
    ],
)
def test_signed_answer_of_another_type_is_a_proven_offence(method: str, result: object) -> None:
    pair = Pair(result)
    found = pair.ask(method, *_ORDERS.get(method, ()))
    assert isinstance(found, Failure)
    offence = pair.caller.take_offences()[0]
    assert (offence.node, offence.proven) == ("a", True)


def test_a_failure_is_of_its_node_and_fit_to_print() -> None:
    pair = Pair(
        Failure(
            "b", "\x1b[2J\x07wiped\n" + "x" * 10_000, "line\r\x1b]0;title\x07\nnext" + "y" * 10**6
        )
    )
    found = pair.ask("progress")
    assert found.node == "a"
    assert found.message.startswith("�[2J�wiped x")
    assert len(found.message) <= 500
    assert "\x1b" not in found.detail
    assert len(found.detail.splitlines()) == 3
    assert len(found.detail) <= 20_000


def test_digest_is_computed_once_until_the_tensor_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("tdml.common.digest.blake3", lambda data: seen.append(data) or blake3(data))
    pair, weights = Pair(), torch.ones(10)
    for _ in range(5):
        pair.caller.order("a", "load", (weights,))
    assert len(seen) == 1
    weights += 1
    _, order = pair.caller.order("a", "load", (weights,))
    assert len(seen) == 2
    pair.listener.obey(order.header, order.tensors, order.signature)
    assert len(pair.done) == 1


def test_what_is_signed_as_an_order_is_no_answer() -> None:
    """A header that reads as both would let one signature serve as the other."""
    pair = Pair()
    header, _ = encode(Answer(AT, "a", 0, None, b"\xc0", ()))
    signature = pair.a.sign(_ORDER + header)
    with pytest.raises(NoAnswer):
        pair.caller.read("a", 0, "join", Envelope(header, (), signature))
    header, _ = encode(Order(AT, "a", 0, "stop", b"\x91\x00", ()))
    assert pair.listener.obey(header, (), pair.coordinator.sign(_ANSWER + header)) == NOTHING


def test_an_answer_of_an_earlier_start_answers_nothing():
    """The counters begin anew with every start."""
    pair = Pair()
    earlier = replace(pair.caller, at=Session(AT.job, "earlier"))
    counter, order = earlier.order("a", "reveal", _ORDERS["reveal"])
    old = pair.listen(Session(AT.job, "earlier")).obey(order.header, order.tensors, order.signature)
    earlier.read("a", counter, "reveal", old)
    assert pair.caller.order("a", "reveal", _ORDERS["reveal"])[0] == counter
    with pytest.raises(NoAnswer):
        pair.caller.read("a", counter, "reveal", old)
