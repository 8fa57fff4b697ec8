"""All that watches a run, behind one interface for the round loop."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tdml import __version__
from tdml.errors import one_line
from tdml.monitor import machine
from tdml.monitor.best import Best
from tdml.monitor.run_folder import BEST_MODEL, RunFolder, read_metrics, reading
from tdml.monitor.tensorboard import TensorBoard
from tdml.monitor.terminal import Terminal
from tdml.round.result import Round
from tdml.settings.schema import Config

_UNKNOWN = {"test_accuracy": None, "test_loss": None}  # where no round was done


@dataclass(frozen=True)
class RunEnd:
    """Why a run has ended, and with whom: names of nodes. `model` is its file, if it has come to
    its end; `notices` hold of all of it."""

    exit_reason: str
    banned: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    model: str | None = None
    notices: list[str] = field(default_factory=list)


class Monitor:
    """Hands every round to the run folder, TensorBoard and the terminal."""

    def __init__(
        self, config: Config, folder: RunFolder, terminal: Terminal, first_round: int
    ) -> None:
        self._config, self.folder, self.terminal = config, folder, terminal
        self._board = TensorBoard(folder.path, config, first_round)
        self._notes: list[str] = []
        machine.note(folder.path, machine.this_machine(first_round))
        self.best = Best(read_metrics(folder.path, void=True))

    def tell(self, text: str, detail: str) -> None:
        """Something that the user should know of; it goes into the round's notes. Stack traces go
        to failures.log."""
        text = one_line(text)  # a peer may have a part in it
        self._notes.append(text)
        if detail:
            with (self.folder.path / "failures.log").open("a", encoding="utf-8") as file:
                file.write(f"{text}\n{detail}\n")

    def take_notes(self) -> list[str]:
        """The notes since the last round."""
        notes, self._notes = self._notes, []
        return notes

    def round(self, played: Round) -> None:
        """Record one round everywhere."""
        self.folder.append(played)
        self._board.add(played)
        self.terminal.round(played)

    def take_back(self, after: int, reason: str) -> None:
        """The rounds after one are void, and come again."""
        self.folder.take_back(after)
        self._board.take_back(after)
        self.best.take_back(after)
        self.terminal.say(reason, "yellow")

    def finish(self, end: RunEnd) -> None:
        """Write summary.json and close what is open.

        Raises:
            SettingError: metrics.jsonl is damaged.
        """
        played = read_metrics(self.folder.path, void=True)
        with reading(self.folder.path / "metrics.jsonl"):  # which others may have written into
            held = summary(self._config, played, self.best, end)
        self.folder.summarise(held)
        self._board.close()


def summary(
    config: Config, played: list[dict[str, Any]], best: Best, end: RunEnd
) -> dict[str, Any]:
    """What summary.json holds: the last round's figures, the totals, who was banned, why the run
    ended, and what holds of all of it. `played` are the lines of all rounds, also void ones."""
    lines = [line for line in played if not line.get("void")]
    last = lines[-1] if lines else {}
    return {
        "name": config.name,
        "version": __version__,
        "exit_reason": end.exit_reason,
        "round": last.get("round", 0),
        "rounds": config.rounds,
        **({name: value for name, value in last.items() if name.startswith("test_")} or _UNKNOWN),
        "accepted": last.get("accepted", []),
        "banned": end.banned,
        "dead": end.dead,
        "left": end.left,
        "notices": end.notices,
        "void_rounds": len(played) - len(lines),
        "seconds": round(sum(line["seconds"]["total"] for line in played), 3),
        "bytes": {way: sum(line["bytes"][way] for line in played) for way in ("up", "down")},
        "model": end.model,
        "best": _shown(best, lines),
        "run_dir": str(Path(config.run_dir)),
    }


def _shown(best: Best, lines: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The round whose model is in model-best.pt, if there is one."""
    tested = {line["round"]: line.get(f"test_{best.name}") for line in lines}
    if not best.round:
        return None
    return {
        "round": best.round, f"validation_{best.name}": best.value,
        f"test_{best.name}": tested[best.round],
        "model": BEST_MODEL,
    }  # fmt: skip
