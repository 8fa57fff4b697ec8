"""The process group of one replica, over which activations and gradients go: the default one of its nodes."""

import contextlib
import traceback
from datetime import timedelta

import torch
import torch.distributed as dist

from tdml.cluster.messages import Assignment


def connect(store: dist.Store, assignment: Assignment, stages: int, timeout: float, device: torch.device) -> dist.Store:
    """Connect this process to the replica's other nodes, within `timeout` seconds; returns a store that they share.

    Args:
        store: of the whole job.
    """
    seat = assignment.seat
    shared = dist.PrefixStore(f"replica{seat.replica}/generation{assignment.generation}", store)
    dist.init_process_group(
        assignment.backend,
        store=shared,
        rank=seat.stage,
        world_size=stages,
        timeout=timedelta(seconds=timeout),
        device_id=device if assignment.backend == "nccl" else None,
    )
    return shared


def disconnect() -> None:
    """Close the connections, if there are any."""
    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):  # the neighbours may be gone already
            dist.group.WORLD.abort()  # NCCL would wait for them
            dist.destroy_process_group()


def release(error: BaseException | None) -> None:
    """Let go of what the frames that an error came through hold, such as messages on their way: gloo keeps connections
    open for as long as anybody holds one, and neighbours would wait until their timeout."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
