"""Signed orders and answers: a node obeys the coordinator only, and is the only one who can answer
for itself."""

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import GenericAlias
from typing import Any, get_type_hints

import torch

from tdml.common.digest import digests
from tdml.errors import one_line, printable
from tdml.protocol.identity import Identity, verify_signature
from tdml.protocol.orders import Failure
from tdml.wire.codec import Malformed, decode, encode
from tdml.wire.guard import NOTHING, Envelope, Refusals

_WINDOW = 1024  # orders that may overtake one another on the way
_ORDER, _ANSWER = b"tdml order|", b"tdml answer|"  # what is signed as the one is never the other
# characters of a failure that reach the terminal and the log
_LONGEST_MESSAGE, _LONGEST_DETAIL = 500, 20_000


@dataclass(frozen=True)
class Session:
    """`job` stays when a run is resumed; `session` is new at every start: an order of one is none
    of another."""

    job: str
    session: str


@dataclass(frozen=True)
class _Header:
    """Between whom, and the how-manieth order it is, or answers."""

    at: Session
    node: str
    counter: int


@dataclass(frozen=True)
class Order(_Header):
    """The header of an order; `tensors` are the digests of those that travel with it."""

    method: str
    arguments: bytes
    tensors: tuple[bytes, ...]


@dataclass(frozen=True)
class Answer(_Header):
    """The header of the answer to an order: a failure, or else the result."""

    failure: Failure | None
    result: bytes
    tensors: tuple[bytes, ...]


@dataclass(frozen=True)
class Method:
    """What an order may name: the types of its arguments and of its result."""

    arguments: Any
    result: Any

    @staticmethod
    def of(function: Callable) -> "Method":
        """As annotated, with the limits that the annotations set; `self` has no annotation."""
        hints = get_type_hints(function, include_extras=True)
        result = hints.pop("return")
        return Method(GenericAlias(tuple, tuple(hints.values())), result)


@dataclass(frozen=True)
class Offence:
    """What a node did that no honest node does. `proven`: a signature of its own shows it;
    otherwise somebody else may have answered in its place."""

    node: str
    text: str
    proven: bool


class NoAnswer(Exception):
    """What came is not the node's answer."""


@dataclass
class Caller:
    """The coordinator's end. `keys` has the public key of every node; `refusals` is what came in
    unasked."""

    identity: Identity
    at: Session
    keys: Mapping[str, str]
    methods: Mapping[str, Method]
    refusals: Refusals = field(default_factory=Refusals)

    def __post_init__(self) -> None:
        self._counters: defaultdict[str, itertools.count] = defaultdict(itertools.count)
        self._lock = threading.Lock()
        self._offences: list[Offence] = []

    def order(self, node: str, method: str, arguments: tuple) -> tuple[int, Envelope]:
        """The order's number and what to send."""
        data, tensors = encode(arguments)
        hashes = tuple(digests(tensors))
        with self._lock:
            counter = next(self._counters[node])
        header, _ = encode(Order(self.at, node, counter, method, data, hashes))
        return counter, Envelope(header, tensors, self.identity.sign(_ORDER + header))

    def read(self, node: str, counter: int, method: str, envelope: Envelope) -> Any:
        """What the node has answered to that order: a result of the method's type, or a `Failure`.

        Raises:
            NoAnswer: this is no answer of the node; who sent it is recorded if it shows.
        """
        try:
            answer = _open(Answer, _ANSWER, self.keys[node], envelope)
            if (answer.at, answer.node, answer.counter) != (self.at, node, counter):
                raise Malformed("it is the answer to something else")
        except Malformed as error:
            self._record_impostor(node, envelope, one_line(error))
            raise NoAnswer(f"not its answer ({one_line(error)})") from None
        try:
            if answer.failure is not None:
                return _tidy(answer.failure, node)
            return decode(self.methods[method].result, answer.result, list(envelope.tensors))
        except Malformed as error:
            return self.offend(node, f"answered {method} with something else: {error}")

    def offend(self, node: str, text: str) -> Failure:
        """Record what a node's own signed answer proves; the failure of the order."""
        self._note(Offence(node, text, proven=True))
        return Failure(node, text, "")

    def take_offences(self) -> list[Offence]:
        """The offences since this was last asked."""
        with self._lock:
            taken, self._offences = self._offences, []
        return taken

    def _record_impostor(self, node: str, envelope: Envelope, why: str) -> None:
        """Whoever signed an answer in the node's name has proven it; where nobody has, the node is
        only suspected."""
        for name, key in self.keys.items():
            if name != node and self._signs_for(node, key, envelope):
                self._note(Offence(name, f"signed an answer in the place of {node}", proven=True))
                return
        self._note(Offence(node, f"an answer in its name is not its own: {why}", proven=False))

    def _signs_for(self, node: str, key: str, envelope: Envelope) -> bool:
        """Whether this key has signed an answer in that node's name. Its holder's own answer, of
        this session or from a job in which it had that name, is none: anybody who has seen it may
        send it again."""
        try:
            answer = _open(Answer, _ANSWER, key, envelope)
        except Malformed:
            return False
        return (answer.at, answer.node) == (self.at, node)

    def _note(self, offence: Offence) -> None:
        with self._lock:
            self._offences.append(offence)


class ReplayWindow:
    """Which numbers came already, as in IPsec: each is accepted once, and none that is far behind
    the largest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: set[int] = set()
        self._largest = -1

    def accept(self, number: int) -> bool:
        """Whether a number comes for the first time, and is not too old to be known."""
        with self._lock:
            if number <= self._largest - _WINDOW or number in self._seen:
                return False
            self._seen.add(number)
            self._largest = max(self._largest, number)
            self._seen = {seen for seen in self._seen if seen > self._largest - _WINDOW}
            return True


class Listener:
    """A worker's end: carries out what the coordinator has signed, once, and signs what comes of
    it."""

    def __init__(
        self,
        identity: Identity,
        at: Session,
        node: str,
        coordinator: str,
        methods: Mapping[str, Method],
        carry_out: Callable[[str, tuple], Any],
        refusals: Refusals,
    ) -> None:
        self._identity, self._at, self._node, self._coordinator = identity, at, node, coordinator
        self._methods, self._carry_out, self._refusals = methods, carry_out, refusals
        self._window = ReplayWindow()

    def obey(self, header: bytes, tensors: Sequence[torch.Tensor], signature: str) -> Envelope:
        """The answer to an order; nothing to whatever is none."""
        try:
            order, arguments = self._check(Envelope(header, tensors, signature))
        except Malformed as error:
            self._refusals.add(one_line(error))
            return NOTHING
        return self._sign(order, self._carry_out(order.method, arguments))

    def _check(self, envelope: Envelope) -> tuple[Order, tuple]:
        order = _open(Order, _ORDER, self._coordinator, envelope)
        if (order.at, order.node) != (self._at, self._node):
            raise Malformed(f"an order for {order.node[:40]} of another session, or another node")
        if order.method not in self._methods:
            raise Malformed(f"an order to {order.method[:40]}")
        if not self._window.accept(order.counter):
            raise Malformed(f"a replayed order to {order.method}")
        return order, decode(
            self._methods[order.method].arguments, order.arguments, list(envelope.tensors)
        )

    def _sign(self, order: Order, result: Any) -> Envelope:
        failure = result if isinstance(result, Failure) else None
        try:
            data, tensors = encode(None if failure else result)
        # a user's attack may hand in anything
        except (TypeError, ValueError, OverflowError) as error:
            failure = Failure(
                self._node, f"{order.method} has no result that can be sent: {error!a}", ""
            )
            data, tensors = encode(None)
        hashes = tuple(digests(tensors))
        header, _ = encode(Answer(self._at, self._node, order.counter, failure, data, hashes))
        return Envelope(header, tensors, self._identity.sign(_ANSWER + header))


def _open(kind: type, purpose: bytes, key: str, envelope: Envelope) -> Any:
    """The header of an envelope, once its signature and the tensors' digests are found right."""
    if not verify_signature(key, envelope.signature, purpose + envelope.header):
        raise Malformed(
            "an order that the coordinator has not signed" if kind is Order else "not signed by it"
        )
    header = decode(kind, envelope.header, [])
    if tuple(digests(envelope.tensors)) != header.tensors:
        raise Malformed("the tensors are not those that were signed")
    return header


def _tidy(failure: Failure, node: str) -> Failure:
    """A failure as the log may show it: of the node that reports it, without control characters,
    and not too long."""
    detail = "\n".join(printable(line) for line in failure.detail[:_LONGEST_DETAIL].splitlines())
    return Failure(node, one_line(failure.message[:_LONGEST_MESSAGE]), detail)
