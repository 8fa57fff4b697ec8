"""Run folders as a job leaves them, without the job."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from tdml import config as settings
from tdml.monitor.best import Best
from tdml.monitor.machine import Machine, note
from tdml.monitor.monitor import RunEnd, summary
from tdml.monitor.run_folder import RunFolder, read_metrics
from tdml.round.result import Round
from tdml.settings.schema import Config
from tdml.trust.judgement import Judgement

MACHINE = Machine(1, "AMD EPYC", 2, "AVX512", [], "2.13.0", "3.11.7")


def leave_run(
    folder: Path,
    *overrides: str,
    accuracies: Sequence[float | None],
    ended: bool = True,
    banned: Mapping[int, Sequence[str]] | None = None,
    metric: str = "accuracy",
) -> Path:
    """A run with a round for each accuracy, in which every replica is honest but where a node of it
    is banned.

    Args:
        metric: what the task's first is called, if it is none of classes.
        ended: whether it has come to the end of its rounds, which are as many as accuracies then.
        banned: nodes by round.
    """
    given = [f"rounds={len(accuracies)}"] if ended else []
    config = replace(_composed(*given, *overrides), name=folder.name, run_dir=str(folder))
    run = RunFolder(config)
    run.begin(config)
    note(folder, MACHINE)
    for number, accuracy in enumerate(accuracies, start=1):
        run.append(
            _round(
                number, config.topology.replicas, accuracy, (banned or {}).get(number, ()), metric
            )
        )
    if ended:
        run.summarise(
            summary(
                config,
                read_metrics(folder),
                Best([]),
                RunEnd("all rounds done", model="model.pt"),
            )
        )
    return folder


def take_back(folder: Path, after: int, *overrides: str, accuracies: Sequence[float]) -> None:
    """The rounds after one are taken back, and played again."""
    config = replace(_composed(*overrides), name=folder.name, run_dir=str(folder), resume=True)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "round-000001.pt").touch()
    run = RunFolder(config)
    run.take_back(after)
    for number, accuracy in enumerate(accuracies, start=after + 1):
        run.append(_round(number, config.topology.replicas, accuracy, ()))


@cache
def _composed(*overrides: str) -> Config:
    return settings.load(list(overrides))


def _round(
    number: int,
    replicas: int,
    accuracy: float | None,
    banned: Sequence[str],
    metric: str = "accuracy",
) -> Round:
    guilty = {int(node[1 : node.index(".")]) for node in banned}
    judgements = {
        i: Judgement(
            i,
            (),
            "honest",
            weight=1.0,
            train_loss=2.0 / number + i,
            rank_mean=replicas / 2,
            rank_std=1.0 + i / 10,
        )
        for i in range(replicas)
    }
    for i in guilty:
        nodes = tuple(node for node in banned if node.startswith(f"r{i}."))
        judgements[i] = Judgement(
            i,
            (),
            "malicious",
            "spread",
            blamed=nodes,
            train_loss=9.0,
            rank_mean=replicas / 2,
            rank_std=2.0,
        )
    test = {metric: accuracy, "loss": 1.0 / number}
    return Round(
        number,
        {},
        judgements=judgements,
        bans=dict.fromkeys(banned, "spread"),
        test=test,
        bytes={"up": 1, "down": 1},
        seconds={"total": 7.5},
    )
