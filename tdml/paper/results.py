"""`docs/results/`: what became of the paper's runs, kept as JSON, a file for each."""

from collections.abc import Sequence
from pathlib import Path

from tdml.errors import SettingError
from tdml.monitor.history import History, read, write
from tdml.paper.runs import Run


def update(names: Sequence[str], folder: Path, kept: Path) -> list[str]:
    """Write the JSON of those runs that have begun. Returns a line for each of these, which says
    what was done.

    What is kept of more rounds than a run folder holds stays as it is.

    Args:
        names: of runs.
        folder: where their run folders are.
        kept: where the JSON goes; it is made.

    Raises:
        SettingError: a run folder is damaged, or a file cannot be read.
    """
    kept.mkdir(parents=True, exist_ok=True)
    return [
        _keep(folder / name, kept / f"{name}.json")
        for name in names
        if (folder / name / "config.yaml").exists()
    ]


def _keep(run: Path, path: Path) -> str:
    history = read(run)
    rounds, before = len(history.rounds), len(read(path).rounds) if path.exists() else 0
    if before > rounds:
        return f"{run.name}: {rounds} rounds; those {before} that {path} has of it stay"
    write(history, path)
    return f"{run.name}: {rounds} rounds"


def load(kept: Path, runs: Sequence[Run]) -> dict[str, History]:
    """What is kept of the runs, by name.

    Raises:
        SettingError: a file cannot be read, or is of no run of the paper's.
    """
    names = {run.name for run in runs}
    histories = {path.stem: read(path) for path in sorted(kept.glob("*.json"))}
    if strange := sorted(histories.keys() - names):
        raise SettingError(
            f"{kept / strange[0]}.json is of none of the paper's runs: move it elsewhere"
        )
    return histories
