"""A stand-in for NCCL: it moves tensors of the stand-in device, and no others."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist

from tests.stand_in.device import NAME

BACKEND = "standin_nccl"


class Group(dist.ProcessGroup):
    """What a pipeline needs of NCCL, over gloo."""

    def __init__(self, store: dist.Store, rank: int, size: int, timeout: timedelta) -> None:
        super().__init__(rank, size)
        self._gloo = dist.ProcessGroupGloo(store, rank, size, timeout)

    def getBackendName(self) -> str:  # noqa: N802 - torch's
        return BACKEND

    def send(self, tensors: Sequence[torch.Tensor], to: int, tag: int = 0) -> dist._Work:
        _check(tensors)
        return _Work(
            [self._gloo.send([tensor.detach().cpu().contiguous()], to, tag) for tensor in tensors]
        )

    def recv(self, tensors: Sequence[torch.Tensor], source: int, tag: int = 0) -> dist._Work:
        _check(tensors)
        received = [torch.empty(tensor.shape, dtype=tensor.dtype) for tensor in tensors]

        def take() -> None:
            for tensor, value in zip(tensors, received, strict=True):
                tensor.detach().copy_(value)

        return _Work([self._gloo.recv([value], source, tag) for value in received], take)

    def abort(self) -> None:
        self._gloo.abort()


class _Work(dist._Work):
    def __init__(self, works: Sequence[dist.Work], then: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._works, self._then = works, then

    def wait(self, timeout: timedelta | None = None) -> bool:
        for work in self._works:
            work.wait()
        self._then()
        return True


def _check(tensors: Sequence[torch.Tensor]) -> None:
    for tensor in tensors:
        assert tensor.device.type == NAME, f"NCCL moves no tensors on {tensor.device}"


def register() -> None:
    """Make it a backend of `init_process_group`."""
    dist.Backend.register_backend(BACKEND, Group, devices=[NAME])
