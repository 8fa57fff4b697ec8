"""What a job takes before its first step, and how much memory its processes: watched from outside,
beside a plain loop that is started in a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdml.bench.play import running
from tdml.bench.turns import meminfo
from tdml.errors import SettingError
from tdml.protocol.names import node_name
from tdml.settings.schema import Config

_LOOK_S = 0.05  # between two looks at a job's processes


@dataclass(frozen=True)
class Startup:
    """Seconds from the command to the beginning of the first step, and the most bytes of host
    memory that a process had, by who it is."""

    seconds: float
    bytes: Mapping[str, int]


def watched(overrides: Sequence[str], config: Config) -> tuple[int, Startup | None]:
    """Run a job as `tdml.bench.play` does, and watch it: its exit status, and if that is 0 what was
    seen."""
    begun, peaks, seconds = time.time(), dict[int, int](), None  # peaks by process, in their order
    metrics = Path(config.run_dir, "metrics.jsonl")
    with running(overrides) as job:
        while job.poll() is None:
            for pid in _children(job.pid):
                peak = meminfo(f"/proc/{pid}/status", "VmHWM")
                peaks[pid] = max(peaks.get(pid, 0), peak or 0)
            seconds = until_first_step(metrics, begun) if seconds is None else seconds
            time.sleep(_LOOK_S)
    if seconds is None:  # as short as that
        seconds = until_first_step(metrics, begun)
    if job.returncode or seconds is None:
        return job.returncode, None
    names = [node_name(rank, config.topology) for rank in range(1, len(peaks))]
    return 0, Startup(seconds, dict(zip(["coordinator", *names], peaks.values(), strict=True)))


def until_first_step(metrics: Path, begun: float) -> float | None:
    """From a job's start to its first step, by when its first rounds were written down and what
    they took; None: none is over yet.

    Args:
        metrics: its metrics.jsonl, or that of a run before it.
        begun: the time at which it was started.
    """
    try:
        written, lines = metrics.stat().st_mtime, metrics.read_text().splitlines()
    except FileNotFoundError:
        return None
    if written < begun or not lines:
        return None
    took = [json.loads(line)["seconds"] for line in lines]
    rounds = sum(seconds["total"] for seconds in took)
    return written - begun - rounds + took[0]["broadcast"]


def plain(overrides: Sequence[str]) -> Startup:
    """The same of a process that loads the data and makes the model of a job, and takes steps in a
    plain loop."""
    begun = time.time()
    command = [sys.executable, "-m", "tdml.bench.startup", *overrides]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    return Startup(figures["ready"] - begun, {"plain loop": figures["peak"]})


def _children(pid: int) -> list[int]:
    """In the order in which they were born: of a job, its ranks. None where no /proc says so."""
    try:
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    except OSError:
        return []


def _be_plain(overrides: Sequence[str]) -> dict[str, Any]:
    """Take a few steps; when they began, and the most memory until they ended."""
    import torch

    from tdml import config as settings
    from tdml.bench.plain_loop import Loop
    from tdml.data.source import load_source
    from tdml.models.whole import initial_model

    settings.see_own_classes()
    config = settings.load(list(overrides))
    first = torch.arange(config.train.effective_batch_size).unsqueeze(0)
    model = initial_model(config.model, config.seed)
    loop = Loop(config, load_source(config), model, first)
    ready = time.time()
    for _ in range(3):
        loop.step()
    return {"ready": ready, "peak": meminfo("/proc/self/status", "VmHWM") or 0}


if __name__ == "__main__":
    try:
        print(json.dumps(_be_plain(sys.argv[1:])))
    except SettingError as error:
        sys.exit(f"tdml: {error}")
