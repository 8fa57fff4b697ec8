"""What may come in by RPC: one form of message, and no pickle.

torch sends whatever its pickler makes of a call or a result, and runs whatever function comes out
of it at the other end: with its own pickler any peer can run any code. Here every rank replaces the
pickler before it joins. What travels then is an `Envelope`, bytes and tensors that mean nothing
before `tdml.wire.channel` has found them signed. A worker hands orders to one function; the
coordinator accepts no call at all. Nothing here raises, for torch would print a stack trace for
every message that a hostile peer cares to send.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import msgspec
import torch
from torch.distributed import distributed_c10d
from torch.distributed.rpc import internal

from tdml.errors import one_line
from tdml.protocol.orders import LONGEST_REFUSAL, MOST_REFUSALS
from tdml.wire.closed_calls import close_other_calls
from tdml.wire.codec import Malformed, check_tensor

_LARGEST_HEADER = 4 * 2**20  # bytes
_MOST_TENSORS = 2**16
_KEPT = MOST_REFUSALS - 1  # the last line says how many there were


@dataclass(frozen=True)
class Envelope:
    """An order or an answer: `header` says which one and has the digests of the tensors,
    `signature` covers it."""

    header: bytes = b""
    tensors: Sequence[torch.Tensor] = ()
    signature: str = ""


# the answer to whatever is refused: signing one would lend the node's key to anybody
NOTHING = Envelope()


class _Payload(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What torch sends beside the tensors."""

    kind: Literal["tdml order", "tdml answer"]
    header: bytes
    signature: str


# Made here and not at the first message: what msgspec learns of a type crashes if two threads learn
# it together.
_payloads = msgspec.msgpack.Decoder(_Payload)


class Refusals:
    """What a rank has refused since it was last asked: the latest few, and how many in all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: deque[str] = deque(maxlen=_KEPT)
        self._count = 0

    def add(self, text: str) -> None:
        """Count one, in one line, which a peer may have a part in; safe on any thread."""
        text = one_line(text)[:LONGEST_REFUSAL]
        with self._lock:
            self._count += 1
            if text not in self._latest:
                self._latest.append(text)

    def take(self) -> list[str]:
        """At most `MOST_REFUSALS` lines; none if nothing was refused."""
        with self._lock:
            latest, count = list(self._latest), self._count
            self._latest.clear()
            self._count = 0
        return [*latest, f"{count} refused in all"] if count else []


@dataclass(frozen=True)
class _Call:
    """What torch's `_run_function` runs, and what a future of torch's returns."""

    func: Callable[..., Envelope]
    args: tuple
    envelope: Envelope = NOTHING
    kwargs: dict[str, Any] = field(default_factory=dict)


class Guard:
    """Takes the place of torch's pickler.

    `obey` is called with header, tensors and signature of every order; None accepts none.
    """

    def __init__(
        self, obey: Callable[[bytes, Sequence[torch.Tensor], str], Envelope] | None
    ) -> None:
        self._obey = obey
        self.refusals = Refusals()

    def install(self) -> None:
        """Guard this process, for good. Before `form_rpc`, which can let in calls at once."""
        pickler: Any = internal._internal_rpc_pickler
        pickler.serialize, pickler.deserialize = self.serialize, self.deserialize
        _close_object_collectives()
        close_other_calls()

    def serialize(self, message: Any) -> tuple[bytes, list[torch.Tensor]]:
        """What torch sends for a call of `obey`, or for what a call has returned."""
        is_call = isinstance(message, internal.PythonUDF)
        envelope = Envelope(*message.args) if is_call else message
        if not isinstance(envelope, Envelope):  # torch's record of an exception
            envelope = NOTHING
        payload = _Payload(
            "tdml order" if is_call else "tdml answer", envelope.header, envelope.signature
        )
        return msgspec.msgpack.encode(payload), list(envelope.tensors)

    def deserialize(self, data: bytes, tensors: list[torch.Tensor]) -> _Call:
        """What torch is to do with a message: hand it to `obey`, return it to who asked, or
        nothing."""
        try:
            payload = self._read(data, tensors)
        except Malformed as error:
            return _Call(self._refuse, (f"a message that is none: {error}",))
        envelope = Envelope(
            payload.header, tuple(tensor.detach() for tensor in tensors), payload.signature
        )
        if payload.kind == "tdml order" and self._obey is not None:
            return _Call(self._obey, (envelope.header, envelope.tensors, envelope.signature))
        # torch does not say whether this came as an answer. Run as a call it is refused.
        answer = envelope if payload.kind == "tdml answer" else NOTHING
        return _Call(self._refuse, (f"a call with {payload.kind}",), answer)

    def _read(self, data: bytes, tensors: list[torch.Tensor]) -> _Payload:
        """Says what is wrong in few different words: nobody can crowd out of the ledger what else
        was refused."""
        if len(data) > _LARGEST_HEADER or len(tensors) > _MOST_TENSORS:
            raise Malformed("too many bytes or tensors")
        try:
            payload = _payloads.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Malformed("its bytes are no envelope") from None
        for tensor in tensors:
            check_tensor(tensor)
        return payload

    def _refuse(self, reason: str) -> Envelope:
        self.refusals.add(reason)
        return NOTHING


def _close_object_collectives() -> None:
    """What unpickles the bytes of whoever is in the same process group. torch's own code calls them
    here and there, and a neighbour may make it."""

    def refuse(*_: object) -> NoReturn:
        raise RuntimeError("objects do not travel between processes")

    internals: Any = distributed_c10d
    internals._pickler = internals._unpickler = refuse
