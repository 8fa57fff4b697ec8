"""A run folder of a job's own, as the coordinator takes it."""

import json
from dataclasses import replace

from tdml import config as settings
from tdml.monitor.record import line_of
from tdml.monitor.run_folder import RunFolder, read_metrics
from tdml.round.result import Round

CONFIG = settings.load(
    ["sync=nesterov", "train.lr=0.05", "topology.cuts=[3]", "sync.outer_lr=1e-5"]
)


def config(path, **changes):
    return replace(CONFIG, run_dir=str(path), **changes)


def record(number, total=1.0):
    return Round(number, {}, test={"accuracy": 0.5, "loss": 0.7}, seconds={"total": total})


def line(number, total=1.0):
    return json.dumps(line_of(record(number, total)))


def take(config):
    """A run folder as the coordinator takes it."""
    folder = RunFolder(config)
    folder.begin(config)
    return folder


def leave_a_run(path, *rounds, **changes):
    """A run that has come to an end, with a checkpoint: nothing holds its lock."""
    folder = take(config(path, **changes))
    folder.checkpoints.mkdir()
    (folder.checkpoints / "round-000001.pt").touch()
    for number in rounds:
        folder.append(record(number))


def rounds_of(path):
    return [found["round"] for found in read_metrics(path)]
