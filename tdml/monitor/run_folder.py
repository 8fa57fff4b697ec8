"""The run folder: settings, metrics and summary, written as the run goes."""

import fcntl
import json
import os
import socket
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from tdml.common.files import replace_file
from tdml.errors import SettingError, one_line, refusing
from tdml.monitor.record import line_of
from tdml.round.checkpoint import rounds_in
from tdml.round.result import Round
from tdml.settings.checks import check
from tdml.settings.file import differing, flat, from_yaml, to_yaml
from tdml.settings.schema import Config

BEST_MODEL = "model-best.pt"

# What may change on resuming; the rest would change rounds that are done, or what the next ones
# start from.
_OF_A_START = {"resume", "run_dir", "name", "device", "identity", "ledger"}  # groups or settings
_OF_ROUNDS_TO_COME = {
    "rounds", "monitor.best", "train.lr", "train.schedule", "train.warmup", "train.batch_size",
    "train.patience", "topology.microbatches", "sync.inner_state",
}  # fmt: skip
_LONGEST_USER = 200  # characters of a lock file
_SPARES = "topology.spares"  # may grow, where others have been banned
_NO_WORK = {_SPARES, "monitor.best", "train.patience"}


class RunFolder:
    """One run's folder. It is locked while the run goes on."""

    def __init__(self, config: Config) -> None:
        """Lock it, for a new run or to go on with the one in it, as `resume` says. `self.config`
        has the settings, with what a run that goes on has measured.

        Raises:
            SettingError: it cannot be written, another run uses it, or there is nothing to resume.
        """
        self.path = Path(config.run_dir)
        self.moved: Path | None = None
        # on resuming: settings of the rounds to come, and code, before and now
        self.changed: dict[str, list[Any]] = {}
        try:
            self._check_is_a_run()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = self._take_lock()
            self._goes_on = bool(config.resume) and self._has_checkpoint(config)
            self.config = self._with_choices(config)
            if self._goes_on:
                self.changed = self._check_same_job(self.config)
        except OSError as error:
            raise SettingError(
                f"run_dir={config.run_dir} cannot be written: {one_line(error)}"
            ) from error

    def begin(self, config: Config) -> None:
        """Begin a new run, unless one goes on: an earlier one is moved aside, never overwritten.

        Raises:
            SettingError: the current folder is in it.
            OSError: it cannot be written.
        """
        if self._goes_on:
            return
        if self._used():
            former = self._lock  # whoever comes meanwhile must not take the folder that moves
            self.moved = self._move_aside()
            self.path.mkdir(exist_ok=True)
            self._lock = self._take_lock()
            former.close()
        self.write_settings(config)

    def write_settings(self, config: Config) -> None:
        """Write config.yaml. A run is resumed with new ones only once nothing can keep it from
        going on."""
        replace_file(self.path / "config.yaml", to_yaml(config))

    def compare_code(self, code: str) -> list[str]:
        """Note in `changed` what the run to resume was played with other code or data of. Returns
        the names of these modules, packages and files, and of what the data hold.

        Args:
            code: what the job's work depends on, as a card's `work` has it.
        """
        before = self._code.read_text() if self._goes_on and self._code.exists() else code
        names = differing(before, code)
        both = [dict(line.split(" ", 1) for line in c.splitlines()) for c in (before, code)]
        for name in names:
            key = name if name.startswith("data.") else f"code of {name}"
            self.changed[key] = [each.get(name) for each in both]
        return names

    def write_code(self, code: str) -> None:
        """Write code.txt, for `compare_code` of a later start."""
        replace_file(self._code, code + "\n")

    def write_facts(self, dataset: object) -> None:
        """Write data.json: what has to be known of the data to use the model on other samples,
        where the data set knows it, as a table does by what its columns were divided."""
        if isinstance(facts := getattr(dataset, "facts", None), dict):
            replace_file(self.path / "data.json", json.dumps(facts, indent=2, default=str) + "\n")

    @property
    def _code(self) -> Path:
        return self.path / "code.txt"

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.path / "checkpoints"

    def rewind(self, last: int, line: str, stood: int) -> str:
        """Make metrics.jsonl end with round `last`, whose line the checkpoint holds too; later ones
        come again. Those up to round `stood` were taken back. Returns what to say of rounds that it
        has lost; "" if it has all."""
        there = [
            record | {"void": True} if last < record["round"] <= stood else record
            for record in read_metrics(self.path, void=True)
        ]
        kept = [record for record in there if record.get("void") or record["round"] <= last]
        if last and not any(record["round"] == last for record in kept if not record.get("void")):
            kept.append(json.loads(line))
        self._write_metrics(kept)
        played = {record["round"] for record in kept if not record.get("void")}
        lost = [str(number) for number in range(1, last + 1) if number not in played]
        return f"metrics.jsonl has lost rounds: {', '.join(lost)}" if lost else ""

    def take_back(self, after: int) -> None:
        """Mark the rounds after one as void in metrics.jsonl: they come again."""
        lines = read_metrics(self.path, void=True)
        self._write_metrics(
            [line | {"void": True} if line["round"] > after else line for line in lines]
        )

    def _write_metrics(self, lines: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        replace_file(self.path / "metrics.jsonl", text)

    def append(self, played: Round) -> None:
        """Add a round to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line_of(played)) + "\n")

    def summarise(self, summary: dict[str, Any]) -> None:
        """Replace summary.json."""
        replace_file(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")

    def _take_lock(self) -> IO[str]:
        file = (self.path / ".lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            user = (
                one_line(file.read(_LONGEST_USER))
                if os.fstat(file.fileno()).st_size
                else "somebody"
            )
            file.close()
            raise SettingError(
                f"run_dir={self.path} is in use by another run, {user}: end that, or choose "
                "another run_dir or name"
            ) from None
        file.truncate(0)
        file.write(
            f"process {os.getpid()} on {socket.gethostname()}, since "
            f"{time.strftime('%Y-%m-%d %H:%M:%S')}"
        )
        file.flush()
        return file

    def _check_is_a_run(self) -> None:
        """Only the folder of a run may be moved or written into, not whatever else has that
        name."""
        names = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
        if not names or ".lock" in names:
            return
        try:  # others have files of that name, too
            from_yaml(self.path / "config.yaml")
        except SettingError as error:
            raise SettingError(
                f"run_dir={self.path} holds files that are not of a run: choose a folder of its own"
            ) from error

    def _used(self) -> bool:
        return any(entry.name != ".lock" for entry in self.path.iterdir())

    def _move_aside(self) -> Path:
        if Path.cwd().resolve().is_relative_to(self.path.resolve()):
            raise SettingError(
                f"run_dir={self.path} holds a run and the current folder is in it: choose another "
                "run_dir"
            )
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.{number}")).exists():
            number += 1
        os.rename(self.path, aside)
        return aside

    def _has_checkpoint(self, config: Config) -> bool:
        there = bool(rounds_in(self.checkpoints))
        if there and not (self.path / "config.yaml").exists():
            raise SettingError(
                f"resume: run_dir={config.run_dir} holds checkpoints, but its config.yaml is "
                "missing: put it back, or begin with resume=false"
            )
        if config.resume is True and not there:
            raise SettingError(
                f"resume=true, but run_dir={config.run_dir} holds no checkpoint: begin with "
                "resume=false, or give resume=auto, which goes on where there is one"
            )
        return there

    def _with_choices(self, config: Config) -> Config:
        """The settings with the micro-batches of the run to resume, where no others are given.

        Raises:
            SettingError: they do not fit what else has changed.
        """
        if not self._goes_on or config.topology.microbatches is not None:
            return config
        before = from_yaml(self.path / "config.yaml").topology.microbatches
        config = replace(config, topology=replace(config.topology, microbatches=before))
        check(config)
        return config

    @property
    def changes_work(self) -> bool:
        """Whether rounds that were played before would not be the same again."""
        return bool(self.changed.keys() - _NO_WORK)

    @property
    def how_to_go_on(self) -> str:
        """What to do if the run ends here."""
        there = rounds_in(self.checkpoints)
        return "go on with resume=true" if there else "begin again with resume=false"

    def _check_same_job(self, config: Config) -> dict[str, list[Any]]:
        """The settings that differ from those of the run to resume, but for those of a start:
        before and now.

        Raises:
            SettingError: one differs that must not.
        """
        before, now = flat(from_yaml(self.path / "config.yaml")), flat(config)
        keys = (key for key in before.keys() | now.keys() if key.split(".")[0] not in _OF_A_START)
        changed = {
            key: [before.get(key), now.get(key)]
            for key in sorted(keys)
            if before.get(key) != now.get(key)
        }
        for key, (old, new) in changed.items():
            if not _of_rounds_to_come(key) and not (key == _SPARES and (new or 0) > (old or 0)):
                raise SettingError(
                    f"{key}={new}, but the run to resume has {key}={old}: "
                    "give the setting that it was started with, or start a new run"
                )
        return changed


def _of_rounds_to_come(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in _OF_ROUNDS_TO_COME)


def reading(what: object) -> AbstractContextManager[None]:
    """Run folders are anybody's: what goes wrong as one is read, or shown, is a SettingError."""
    return refusing(f"{what} is damaged: put back a copy of it, or leave the run out")


def read_metrics(run: Path, void: bool = False) -> list[dict[str, Any]]:
    """The rounds in metrics.jsonl; with `void` those among them that were taken back, too, in the
    order in which they were played. A line that was cut off by a crash is left out.

    Raises:
        SettingError: a line is not what a run writes.
    """
    path = run / "metrics.jsonl"
    lines = (
        path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    )
    rounds = []
    for place, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        except (ValueError, RecursionError):  # a number of thousands of digits; lists in lists
            record = None
        if not isinstance(record, dict) or type(record.get("round")) is not int:
            raise SettingError(f"{path} is damaged: line {place} is not what a run writes")
        rounds.append(record)
    return [line for line in rounds if void or not line.get("void")]
