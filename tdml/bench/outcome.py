"""`tdml bench outcome`: what came of runs: accuracy, who was accused and whether rightly, and where
the time went."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tdml.bench import json_file
from tdml.errors import SettingError, printable
from tdml.monitor import history
from tdml.monitor.history import History
from tdml.monitor.run_folder import read_metrics, reading


@dataclass(frozen=True)
class Outcome:
    """Of one run, as far as it has come. `accuracy`, `loss` and `verdicts` (by replica) have one
    value a round; `accused` are nodes, with the round of the first accusation, also of one that was
    taken back; `seconds` are those of the phases for each round that stays, with those of the
    `taken_back` rounds; `metrics` is what the last test has found, by the task's names."""

    run: str
    attackers: list[str]
    accused: Mapping[str, int]
    accuracy: list[float | None]
    loss: list[float | None]
    verdicts: list[Mapping[str, str]]
    seconds: Mapping[str, float]
    metrics: Mapping[str, float | None]
    taken_back: int = 0

    @property
    def wrongly_accused(self) -> list[str]:
        """Those of the accused who did not attack."""
        return [name for name in self.accused if name not in self.attackers]


def run(folders: Sequence[Path], out: Path | None) -> int:
    """Read, print a line for each run, and write JSON to `out` where it is given.

    Raises:
        SettingError: a folder is none of a run, or has no rounds.
    """
    json_file.check(out)
    outcomes = []
    for folder in folders:
        with reading(folder):
            outcomes.append(read(folder))
            said = sentence(outcomes[-1])
        print(printable(said))  # a stranger may have a part in it
    runs = [asdict(outcome) | {"wrongly_accused": outcome.wrongly_accused} for outcome in outcomes]
    json_file.write(out, {"runs": runs})
    return 0


def read(folder: Path) -> Outcome:
    """The outcome of the run in a folder.

    Raises:
        SettingError: it is no run, or has no rounds.
    """
    run_history = history.read(folder)
    if not run_history.rounds:
        raise SettingError(f"{folder} holds no rounds yet")
    return summarise(run_history, read_metrics(folder, void=True))


def summarise(run_history: History, lines: Sequence[Mapping[str, Any]]) -> Outcome:
    """From a run's history and the lines of its metrics.jsonl, also those that are void."""
    staying = [line for line in lines if not line.get("void")]
    return Outcome(
        run=run_history.name,
        attackers=sorted(run_history.attackers),
        accused=run_history.bans,
        accuracy=[played.test_accuracy for played in run_history.rounds],
        loss=[played.test_loss for played in run_history.rounds],
        verdicts=[
            {index: replica["verdict"] for index, replica in line["replicas"].items()}
            for line in staying
        ],
        seconds={
            phase: sum(line["seconds"][phase] for line in lines) / len(staying)
            for phase in staying[0]["seconds"]
        },
        metrics={
            name.removeprefix("test_").replace("_", " "): value
            for name, value in staying[-1].items()
            if name.startswith("test_")
        },
        taken_back=len(lines) - len(staying),
    )


def sentence(outcome: Outcome) -> str:
    """In a line."""
    metrics = ", ".join(
        f"{name} {'unknown' if value is None else f'{value:.4g}'}"
        for name, value in outcome.metrics.items()
    )
    accused = (
        ", ".join(f"{name} in round {number}" for name, number in outcome.accused.items())
        or "nobody"
    )
    wrongly = ", ".join(outcome.wrongly_accused) or "nobody"
    phases = ", ".join(
        f"{name.replace('_', ' ')} {value:.2f}"
        for name, value in outcome.seconds.items()
        if name != "total"
    )
    rounds = "1 round" if len(outcome.accuracy) == 1 else f"{len(outcome.accuracy)} rounds"
    if outcome.taken_back:
        rounds += f" and {outcome.taken_back} that were taken back"
    return (
        f"{outcome.run}: {metrics} after {rounds}; attackers: "
        f"{', '.join(outcome.attackers) or 'none'}; accused: {accused}; wrongly: {wrongly}; "
        f"{outcome.seconds['total']:.2f} s a round: {phases}"
    )
