"""What may come in by RPC: nothing but envelopes, whatever bytes and tensors a peer sends."""

import gc
import importlib
import os
import pickle
import pickletools
import random
import resource
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.rpc import internal

from tdml.wire.channel import NoAnswer
from tdml.wire.codec import Malformed, check_tensor
from tdml.wire.endpoint import obey
from tdml.wire.guard import NOTHING, Envelope, Guard
from tests.wire.envelopes import Pair
from tests.wire.threads import assert_survived


class _Runs:
    """Unpickled, it calls a function."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self._reduced = (function, arguments)

    def __reduce__(self) -> tuple:
        return self._reduced


def _pickles(canary: Path) -> list[bytes]:
    """What torch's own pickler would have read: code, bombs, and honest calls."""
    touch = _Runs(os.system, f"touch {canary}")
    bombs = [
        b"\x80\x04" + b"(" * 10**6 + b".",
        b"\x80\x04" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
        b"\x80\x04\x8e" + (10 * 2**30).to_bytes(8, "little") + b".",  # BINBYTES8 of 10 GB
        b"\x80\x05\x96" + (10 * 2**30).to_bytes(8, "little") + b".",  # BYTEARRAY8
        b"\x80\x04Nr\xff\xff\xff\x7f.",  # LONG_BINPUT: a memo of two billion
    ]
    calls = [
        internal.PythonUDF(os.system, (f"touch {canary}",), {}),
        internal.PythonUDF(obey, (touch, (), ""), {}),
        internal.PythonUDF(obey, (b"", (), ""), {}),
        internal.RemoteException("text", ValueError),
    ]
    return [*bombs, *(pickle.dumps(each) for each in (touch, [touch], *calls))]


def _guards() -> tuple[Guard, Guard, Pair]:
    """The guard of a worker, of the coordinator, and the ends that they guard."""
    pair = Pair(torch.ones(3))
    return Guard(pair.listener.obey), Guard(None), pair


def _receive(guard: Guard, data: bytes, tensors: list[torch.Tensor]) -> tuple[Envelope, Envelope]:
    """What a message does when torch takes it for a call, and when torch takes it for an answer."""
    call = guard.deserialize(data, tensors)
    return internal._run_function(call), call.envelope


def test_an_order_reaches_the_worker_and_its_answer_the_coordinator() -> None:
    worker, coordinator, pair = _guards()
    counter, order = pair.caller.order("a", "reveal", ("update", 0))
    sent = coordinator.serialize(
        internal.PythonUDF(obey, (order.header, order.tensors, order.signature), {})
    )
    result, _ = _receive(worker, *sent)
    answer = coordinator.deserialize(*worker.serialize(result)).envelope
    assert torch.equal(pair.caller.read("a", counter, "reveal", answer), torch.ones(3))


def test_pickles_are_no_messages(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    canary = tmp_path / "canary"
    worker, coordinator, pair = _guards()
    for data in _pickles(canary):
        for guard in (worker, coordinator):
            assert _receive(guard, data, []) == (NOTHING, NOTHING)
    assert not canary.exists()
    assert pair.done == []
    assert "".join(capfd.readouterr()) == "", "a peer must not be able to fill the terminal"
    assert "a message that is none" in coordinator.refusals.take()[0]


def test_the_coordinator_accepts_no_call() -> None:
    _, coordinator, pair = _guards()
    _, order = pair.caller.order("a", "stop", (0,))
    sent = coordinator.serialize(
        internal.PythonUDF(obey, (order.header, order.tensors, order.signature), {})
    )
    assert _receive(coordinator, *sent) == (NOTHING, NOTHING)
    assert coordinator.refusals.take() == ["a call with tdml order", "1 refused in all"]
    _receive(coordinator, *coordinator.serialize(Envelope(b"header", (), "signature")))
    assert coordinator.refusals.take() == ["a call with tdml answer", "1 refused in all"]


def test_a_worker_obeys_no_answer() -> None:
    worker, coordinator, pair = _guards()
    sent = coordinator.serialize(Envelope(b"header", (), "signature"))
    _receive(worker, *sent)
    assert worker.refusals.take() == ["a call with tdml answer", "1 refused in all"]
    assert pair.done == []


def test_a_tensor_that_comes_wants_no_gradient() -> None:
    """Nothing could be written to it."""
    coordinator = Guard(None)
    data, _ = coordinator.serialize(Envelope(b"header", (), "signature"))
    [tensor] = coordinator.deserialize(data, [torch.ones(3, requires_grad=True)]).envelope.tensors
    assert not tensor.requires_grad


def test_what_a_hostile_function_raises_is_not_passed_on() -> None:
    worker, coordinator, _ = _guards()
    data, tensors = worker.serialize(internal.RemoteException("text", SystemExit))
    assert coordinator.deserialize(data, tensors).envelope == NOTHING


_STRANGE = {
    "repeated by a stride of 0": lambda: torch.zeros(1).expand(2_500_000_000),
    "transposed": lambda: torch.ones(2, 3).t(),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "on no device": lambda: torch.empty(10**12, device="meta"),
    "complex": lambda: torch.ones(3, dtype=torch.complex64),
    "negated": lambda: torch._neg_view(torch.ones(3)),
    "quantized": lambda: torch.zeros(3, dtype=torch.float32).to(torch.float8_e4m3fn),
}


@pytest.mark.parametrize("name", _STRANGE)
def test_strange_tensors_are_refused_unread(name: str) -> None:
    worker, coordinator, _ = _guards()
    data, _ = worker.serialize(Envelope(b"header", (), "signature"))
    for guard in (worker, coordinator):
        assert _receive(guard, data, [_STRANGE[name]()]) == (NOTHING, NOTHING)


@pytest.mark.parametrize(("first", "held"), [(0, 0), (500, 2000)])
def test_tensor_without_its_bytes_is_refused(first: int, held: int) -> None:
    """Those of others in the same storage are not its own."""
    tensor = torch.ones(1000)[first:]
    tensor.untyped_storage().resize_(held)
    with pytest.raises(Malformed, match="more bytes than it has"):
        check_tensor(tensor)


def test_too_many_tensors_and_too_long_headers_are_refused() -> None:
    worker, coordinator, _ = _guards()
    data, _ = worker.serialize(Envelope(b"header", (), "signature"))
    assert coordinator.deserialize(data, [torch.ones(1)] * (2**16 + 1)).envelope == NOTHING
    data, _ = worker.serialize(Envelope(bytes(5 * 2**20), (), "signature"))
    assert coordinator.deserialize(data, []).envelope == NOTHING


def test_a_peers_words_cannot_control_the_terminal() -> None:
    guard = Guard(None)
    guard.deserialize(msgspec.msgpack.encode(["\x1b[2J\n" + "x" * 1000, b"", ""]), [])
    guard.deserialize(msgspec.msgpack.encode(["tdml answer", b"", ""]), []).func(
        "\x1b[2J" + "x" * 1000
    )
    taken = guard.refusals.take()
    assert len(taken) == 2
    for text in taken:
        assert text.isprintable()
        assert len(text) <= 300


_PARTS = (
    st.binary(max_size=60)
    | st.text(max_size=20)
    | st.integers(-(2**63), 2**64 - 1)
    | st.none()
    | st.floats()
)
_MESSAGES = st.tuples(st.sampled_from(["tdml order", "tdml answer", "os.system"]), _PARTS, _PARTS)


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(message=_MESSAGES, strange=st.booleans())
def test_generated_messages_are_refused(message: tuple, strange: bool) -> None:
    tensors = [torch.ones(3), torch.eye(2).to_sparse()] if strange else [torch.ones(3)]
    for guard in _FUZZED[:2]:
        _receive(guard, msgspec.msgpack.encode(message), tensors)
    assert _FUZZED[2].done == []


def test_twelve_thousand_malformed_messages_leave_no_trace(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """Mutants of orders, answers and pickles as messages; of every sixth, the right keys have
    signed the header."""
    canary, draw = tmp_path / "canary", random.Random(0)
    seeds = _seeds(canary)
    _attack(seeds, draw, 1_000)  # what is allocated once is no leak
    gc.collect()
    before = _resident()
    _attack(seeds, draw, 11_000)
    gc.collect()
    assert _resident() - before < 20 * 2**20
    assert not canary.exists()
    assert _FUZZED[2].done == []
    assert "".join(capfd.readouterr()) == ""


_FUZZED = _guards()


def _seeds(canary: Path) -> list[bytes]:
    worker, coordinator, pair = _FUZZED
    _, order = pair.caller.order("a", "load", (torch.ones(3),))
    call = internal.PythonUDF(obey, (order.header, order.tensors, "00"), {})
    honest = [
        coordinator.serialize(call)[0],
        worker.serialize(Envelope(order.header, (), "00"))[0],
        order.header,
    ]
    opcodes = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
    return [*honest, *(data[:2000] for data in _pickles(canary)), b"".join(opcodes)]


def _attack(seeds: list[bytes], draw: random.Random, count: int) -> None:
    for number in range(count):
        data = _mutant(draw.choice(seeds), draw)
        for guard in _FUZZED[:2]:
            _receive(guard, data, [torch.ones(3)] * draw.randrange(3))
        if number % 6 == 0:  # signing takes the most of the time
            _read(
                Envelope(
                    data,
                    [torch.ones(3)] * draw.randrange(2),
                    _FUZZED[2].a.sign(b"tdml answer|" + data),
                )
            )
            _read(Envelope(data, (), _FUZZED[2].coordinator.sign(b"tdml order|" + data)))


def _read(envelope: Envelope) -> None:
    """What the channel makes of an envelope at either end."""
    pair = _FUZZED[2]
    with pytest.raises(NoAnswer):
        pair.caller.read("a", 7, "reveal", envelope)
    pair.caller.take_offences()
    assert pair.listener.obey(envelope.header, envelope.tensors, envelope.signature) == NOTHING


def _mutant(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(changed) + 1)
        match draw.randrange(4):
            case 0:
                changed[place : place + 1] = draw.randbytes(1)
            case 1:
                del changed[place : place + draw.randint(1, 8)]
            case 2:
                changed[place:place] = draw.randbytes(draw.randint(1, 8))
            case 3:
                changed[place:place] = changed[place : place + draw.randint(1, 40)]
    return bytes(changed)


def _resident() -> int:
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def reading_with_a_new_guard():
    fresh = importlib.reload(importlib.import_module("tdml.wire.guard"))
    data, _ = fresh.Guard(None).serialize(fresh.Envelope(b"header", (), "signature"))
    read = fresh.Guard(None).deserialize
    return lambda: read(data, [])


def test_threads_that_read_the_first_messages_together() -> None:
    """Without care the process dies, as whole coordinators did."""
    assert_survived(reading_with_a_new_guard)
