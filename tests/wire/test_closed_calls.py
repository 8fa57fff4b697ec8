"""Calls past the pickler: none is carried out, whatever it asks for; orders are."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing
from torch._C import _distributed_rpc
from torch.distributed import rpc

from tdml.errors import SettingError
from tdml.wire import closed_calls, endpoint
from tdml.wire.guard import Envelope, Guard
from tdml.wire.rpc_world import form_rpc

_REFUSED = "not supported"
_SECONDS = 10.0


def draw(count: int) -> torch.Tensor:
    """A function that a peer may know, as those of the user's model."""
    return torch.rand(count)


def _refusal(call: Callable[[], object]) -> str:
    """What torch answers to a call."""
    with pytest.raises(RuntimeError) as error:
        call()
    return str(error.value)


def _take_part(_: int, folder: str) -> None:
    """Be a guarded rank, and call it: by operators, by a compiled function, and by an order."""
    os.environ["TP_SOCKET_IFNAME"] = "lo"
    secret = Path(folder) / "secret"
    secret.write_text("a key")
    guard = Guard(lambda header, tensors, signature: Envelope(b"answer to " + header))
    guard.install()
    form_rpc(dist.TCPStore("127.0.0.1", 0, is_master=True), "session", 1, _SECONDS)
    own = rpc.get_worker_info()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    operator, draws = _distributed_rpc._invoke_rpc_builtin, ("aten::rand", _SECONDS, [2])
    _distributed_rpc._invoke_remote_builtin(own, *draws)  # torch tells nobody of its refusal
    assert _REFUSED in _refusal(lambda: operator(own, *draws).wait())
    reads = ("aten::from_file", _SECONDS, str(secret), False, 5)
    assert _REFUSED in _refusal(lambda: operator(own, *reads, dtype=torch.uint8).wait())
    assert _REFUSED in _refusal(lambda: rpc.rpc_sync("rank1", torch.jit.script(draw), (2,)))
    assert torch.equal(torch.get_rng_state(), before)
    order = endpoint.send(1, Envelope(b"an order"), _SECONDS).wait()
    assert order.envelope.header == b"answer to an order"
    os._exit(0)


@pytest.mark.timeout(60)
def test_no_call_but_an_order_is_carried_out(tmp_path: Path) -> None:
    """In a process of its own, whose calls are closed for good."""
    multiprocessing.spawn(_take_part, (str(tmp_path),))


@pytest.mark.parametrize("name", ["_CARRIES_OUT", "_CARRIED_OUT"], ids=["a table", "a method"])
def test_a_torch_that_is_made_otherwise_takes_no_part(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    other = "Another" if name == "_CARRIES_OUT" else ("processAnother",)
    monkeypatch.setattr(closed_calls, name, other)
    with pytest.raises(SettingError, match=r"cannot be closed.*install the torch"):
        closed_calls.close_other_calls()
