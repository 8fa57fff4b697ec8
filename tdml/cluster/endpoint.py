"""The one function of a worker that is called by RPC. A process is one worker, installed before RPC starts."""

from collections.abc import Sequence

import torch

from tdml.cluster.channel import Listener
from tdml.cluster.guard import Envelope, Guard

_listener: Listener | None = None


def install(guard: Guard, listener: Listener) -> None:
    """Make this process answer by `listener`, behind a guard of `obey`."""
    global _listener  # noqa: PLW0603
    _listener = listener
    guard.install()


def obey(header: bytes, tensors: Sequence[torch.Tensor], signature: str) -> Envelope:
    """Carry out an order: see `Listener.obey`."""
    assert _listener is not None
    return _listener.obey(header, tensors, signature)
