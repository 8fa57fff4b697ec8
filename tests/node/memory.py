"""What one stage of a pipeline of processes takes, as the operating system sees it.

`python -m tests.node.memory RANK FOLDER`: the folder has what `leave` has put there.
"""

import pickle
import re
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from tdml.models.layout import change
from tdml.models.plan import Plan
from tdml.node.lockstep import StepInputs
from tdml.node.messages import Passing
from tdml.node.pipeline import Pipeline
from tdml.node.stage import Stage
from tdml.settings.schema import Config
from tdml.tasks.objective import mean_loss, task_of

CPU = torch.device("cpu")


def leave(folder: Path, config: Config, plan: Plan, windows: int, batch: tuple) -> None:
    """What the processes of all stages read."""
    (folder / "job").write_bytes(pickle.dumps((config, plan, windows, batch)))


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    config, plan, windows, (inputs, targets) = pickle.loads((folder / "job").read_bytes())
    store = f"file://{folder / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=config.topology.stages)
    _warm_up(config)
    before = _bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    stage = Stage(config, rank, plan, CPU, CPU)
    pipeline = Pipeline(stage, config.topology.schedule, lambda: None)
    weights = torch.randn(stage.layout.size) * 0.02
    stage.trainer.begin(weights)
    kept = []
    for _ in range(max(windows, 2)):
        pipeline.train_step(StepInputs(inputs, targets, 0, 1e-4), Passing())
        if len(kept) + 1 < windows:
            kept.append(stage.trainer.state())
    update = change(weights, stage.trainer.weights())
    if kept:  # a state of somebody else's comes, in blocks, and a window is repeated from it
        blocks = [block.clone() for block in kept[-1].split(1 << 20)]
        stage.trainer.resume(torch.cat(blocks))
        pipeline.train_step(StepInputs(inputs, targets, 0, 1e-4), Passing())
    (folder / f"{rank}").write_text(str(_bytes("VmHWM") - before))
    assert len(kept) == max(0, windows - 1)
    assert len(update) == len(weights)
    dist.destroy_process_group()


def _warm_up(config: Config) -> None:
    """What is loaded with the first step of any model."""
    layer = torch.nn.Linear(8, 8)
    task = task_of(config)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.train.precision == "bf16"):
        output = layer(torch.rand(2, 3, 8))
    mean_loss(task, output, torch.zeros(2, 3, dtype=torch.int64)).backward()
    torch.optim.AdamW(layer.parameters()).step()


def _bytes(what: str) -> int:
    found = re.search(rf"{what}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
