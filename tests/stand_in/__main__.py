"""A rank whose workers compute on the stand-in: `torchrun … -m tests.stand_in FOLDER gloo|nccl
key=value …`.

With gloo all workers of a machine share one device, with nccl each has its own.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ["TORCH_CPP_LOG_LEVEL"] = "FATAL"  # as tdml does, before torch is imported

import torch
import torch.distributed as dist

from tdml import __main__ as rank
from tdml.node import stage
from tdml.node.devices import Device
from tdml.run import start_worker
from tdml.wire import group
from tests.stand_in import device, nccl


class _DistributedWithoutNccl:
    """`torch.distributed`, but for NCCL."""

    def __getattr__(self, name: str) -> Any:
        return getattr(dist, name)

    @staticmethod
    def init_process_group(backend: str, device_id: torch.device | None, **rest: Any) -> None:
        own = backend == "nccl"
        assert (device_id is not None) == own
        dist.init_process_group(nccl.BACKEND if own else backend, **rest)


class _ToldStage(stage.Stage):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        print(
            f"stage on {self._tensors[0].device}, borders on {self.pipeline._border_device}",
            flush=True,
        )


def main(folder: str, backend: str, *overrides: str) -> int:
    there = device.start(Path(folder))
    nccl.register()
    start_worker.choose_device = lambda *_: Device(there, own=backend == "nccl")
    start_worker.own_gpu = lambda found: os.environ["RANK"] if found.own else ""
    group.dist = _DistributedWithoutNccl()
    stage.Stage = _ToldStage
    return rank.main(list(overrides))


if __name__ == "__main__":
    status = main(*sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
