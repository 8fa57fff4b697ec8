"""The process group of one replica, over which activations and gradients go: the default one of its
nodes."""

import contextlib
import traceback
from collections.abc import Mapping
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from tdml.protocol.orders import Assignment


def connect(
    store: dist.Store, assignment: Assignment, stages: int, timeout: float, device: torch.device
) -> None:
    """Connect this process to the replica's other nodes, within `timeout` seconds.

    Args:
        store: of the whole job.
    """
    slot = assignment.slot
    # part of the keys at which the nodes meet, and one more after every attempt that has failed: of
    # nodes that have failed with others, none would ever meet
    distributed_c10d._world.group_count = 0
    shared = dist.PrefixStore(f"replica{slot.replica}/generation{assignment.generation}", store)
    dist.init_process_group(
        assignment.backend,
        store=shared,
        rank=slot.stage,
        world_size=stages,
        timeout=timedelta(seconds=timeout),
        device_id=device if assignment.backend == "nccl" else None,
    )


def exchange(offers: Mapping[int, torch.Tensor], device: torch.device) -> dict[int, torch.Tensor]:
    """Send a tensor to each of some stages, and receive one of the same form from each. `device` is
    where tensors lie when they cross."""
    sent = {peer: tensor.to(device) for peer, tensor in offers.items()}
    received = {peer: torch.empty_like(tensor) for peer, tensor in sent.items()}
    crossing = [dist.P2POp(dist.isend, tensor, peer) for peer, tensor in sorted(sent.items())]
    crossing += [dist.P2POp(dist.irecv, tensor, peer) for peer, tensor in sorted(received.items())]
    for work in dist.batch_isend_irecv(crossing) if crossing else []:
        work.wait()
    return {peer: tensor.cpu() for peer, tensor in received.items()}


def disconnect() -> None:
    """Close the connections, if there are any."""
    if (world := dist.group.WORLD) is not None:
        # without the first NCCL would wait
        for close in (world.abort, dist.destroy_process_group):
            with contextlib.suppress(RuntimeError):  # the neighbours may be gone already
                close()


def release(error: BaseException | None) -> None:
    """Let go of what the frames that an error came through hold, such as messages on their way:
    gloo keeps connections open for as long as anybody holds one, and neighbours would wait until
    their timeout."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
