"""Two stages of a pipeline, one of which has its neighbour's torch ask for an object, and sends one
that runs code."""

import os
import pickle
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


def honest(rank: int, shield: str, said: Path) -> None:
    """Take a training step, and write down why it fails. `shield` is what is in its neighbour's
    way: "stage" or "guard"."""
    if shield == "guard":
        pipeline._StaticStage = PipelineStage
        Guard(None).install()
    try:
        step("gpt", rank, 2)
    except Exception as error:
        said.write_text(type(error).__name__)


def hostile(other: int, canary: str) -> None:
    """Vote against static shapes, and answer what is asked then; whatever comes in is received."""
    places = [torch.zeros(2**16, dtype=torch.uint8) for _ in range(8)]
    received = [dist.irecv(place, other) for place in places]
    dist.send(torch.zeros(1, dtype=torch.int32), other)
    raw = torch.frombuffer(bytearray(pickle.dumps(Touches(canary))), dtype=torch.uint8)
    dist.send(torch.tensor([len(raw)]), other)
    dist.send(raw, other)
    assert received[0] is not None


def main(rank: int, folder: Path, liar: int, shield: str) -> None:
    """The process of one of them. Code that runs leaves a file "canary" in the folder, and a step
    that fails one with the error's name, "said"."""
    torch.set_num_threads(1)
    store = f"file://{folder / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    if rank == liar:
        hostile(1 - rank, str(folder / "canary"))
    else:
        honest(rank, shield, folder / "said")
    os._exit(0)  # the other may be gone
