"""Two stages of a pipeline, one of which has its neighbour's torch ask for an object, and sends one
that runs code.

`python -m tests.node.hostile_neighbour RANK STORE HOSTILE CANARY SHIELD` is the process of one.
"""

import os
import pickle
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.pipelining import PipelineStage

from tdml.node import pipeline
from tdml.wire.guard import Guard
from tests.node.model_pipelines import step


class Touches:
    """Unpickled, it makes a file."""

    def __init__(self, canary: str) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple:
        return Path.touch, (Path(self._canary),)


def honest(rank: int, shield: str) -> None:
    """Take a training step, and print why it fails. `shield` is what is in its neighbour's way:
    "stage" or "guard"."""
    if shield == "guard":
        pipeline._StaticStage = PipelineStage
        Guard(None).install()
    try:
        step("gpt", rank, 2)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")


def hostile(other: int, canary: str) -> None:
    """Vote against static shapes, and answer what is asked then; whatever comes in is received."""
    places = [torch.zeros(2**16, dtype=torch.uint8) for _ in range(8)]
    received = [dist.irecv(place, other) for place in places]
    dist.send(torch.zeros(1, dtype=torch.int32), other)
    raw = torch.frombuffer(bytearray(pickle.dumps(Touches(canary))), dtype=torch.uint8)
    dist.send(torch.tensor([len(raw)]), other)
    dist.send(raw, other)
    assert received[0] is not None


def main(rank: int, store: str, liar: int, canary: str, shield: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    if rank == liar:
        hostile(1 - rank, canary)
    else:
        honest(rank, shield)
    sys.stdout.flush()
    os._exit(0)  # the other may be gone


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
