"""The one function that is called by RPC, at both ends. A process is one worker, which listens
before RPC starts."""

from collections.abc import Sequence

import torch
from torch.distributed import rpc

from tdml.errors import one_line
from tdml.protocol.names import rpc_name
from tdml.wire.channel import Listener
from tdml.wire.guard import Envelope

_listener: Listener | None = None


def listen(listener: Listener) -> None:
    """Make this process answer by `listener` from now on."""
    global _listener  # noqa: PLW0603
    _listener = listener


def obey(header: bytes, tensors: Sequence[torch.Tensor], signature: str) -> Envelope:
    """Carry out an order: see `Listener.obey`."""
    assert _listener is not None
    return _listener.obey(header, tensors, signature)


def send(rank: int, order: Envelope, timeout: float) -> torch.futures.Future:
    """Have the worker of that rank obey an order. The future's value has the answer as its
    `envelope`; it fails after `timeout` seconds, 0 for never.

    Raises:
        RuntimeError: the connection is lost already, or the worker has given an address that is
            none.
    """
    sent = (order.header, order.tensors, order.signature)
    try:
        return rpc.rpc_async(rpc_name(rank), obey, args=sent, timeout=timeout)
    except (ValueError, LookupError, ArithmeticError) as error:  # of TensorPipe, by the address
        raise RuntimeError(one_line(error)) from error
