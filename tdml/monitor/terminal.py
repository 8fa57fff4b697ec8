"""The terminal: a live line of progress and a table row per round. Plain lines where there is no
terminal."""

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from tdml.monitor.record import MARKS, NOT_FORMED, form_of, headline, line_of
from tdml.monitor.run_folder import BEST_MODEL
from tdml.round.clock import PHASES
from tdml.round.result import Round

_COLOURS = {"honest": "green", "suspicious": "yellow", "malicious": "bold red", "lost": "magenta"}
_SHORT = {"broadcast": "send", "cross_check": "check", "aggregate": "mean", "evaluate": "test"}
_PLAIN_WIDTH = 140  # of lines that go to a file or a pipe
_REFRESHES_PER_S = 4
_WAITING_SAID_EVERY_S = 30.0  # where there is no live line
_INDENT = 7  # of what is said about a round below its row
_LONGEST_METRIC = 10  # characters of its name
# characters of a row without its round, replicas and phases, and of a phase
_BEFORE_PHASES, _COLUMN = 30, 8


class _Screen(Console):
    """The run goes on where nothing can be shown any more: its folder has all of it."""

    def __exit__(self, *raised: Any) -> None:
        """Through which all that is shown is written."""
        try:
            super().__exit__(*raised)
        except OSError:  # a log's disk is full, or the terminal was closed
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Whoever read has gone."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class Terminal:
    """Shows a run to whoever started it."""

    def __init__(self, rounds: int, replicas: int) -> None:
        width = None if os.isatty(1) else _PLAIN_WIDTH
        self.console = _Screen(highlight=False, width=width, soft_wrap=not os.isatty(1))
        self._rounds, self._replicas = rounds, replicas
        self._status: Callable[[], str] = lambda: ""
        self._live = Live(
            get_renderable=self._line,
            console=self.console,
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
        )
        self._titled = False
        self._waiting_said = float("-inf")

    def __enter__(self) -> "Terminal":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the live line away, and give the cursor back."""
        self._live.stop()

    def status(self, text: Callable[[], str]) -> None:
        """What is going on, asked anew at every refresh."""
        self._status = text

    def waiting(self, text: str) -> None:
        """Who is waited for, if anybody, which the status says too. Where nothing shows that, a
        line now and then."""
        now = time.monotonic()
        if (
            text
            and not self.console.is_terminal
            and now - self._waiting_said >= _WAITING_SAID_EVERY_S
        ):
            self._waiting_said = now
            self.say(text, "cyan")

    def say(self, text: str, style: str = "") -> None:
        """One line that stays."""
        self.console.print(Text(text, style=style))

    def round(self, played: Round) -> None:
        """The table row of a round, and a line for each accusation and each note."""
        line = line_of(played)
        if not self._titled:
            self.console.print(Text(self._titles(headline(line)), style="bold"))
            self._titled = True
        self.console.print(self._row(played, line))
        for index, judgement in sorted(played.judgements.items()):
            if judgement.status not in ("honest", "lost"):
                names = ", ".join(judgement.blamed) or f"replica {index}"
                uncounted = "" if judgement.accepted else ", its update does not count"
                effect = ", banned" if judgement.blamed else uncounted
                text = f"{names} {judgement.status}{effect}: {judgement.reason}"
                self._remark(text, _COLOURS[judgement.status])
        for note in played.notes:
            self._remark(note, "magenta")

    def _remark(self, text: str, style: str) -> None:
        line = Text(text, style=style)
        if self.console.is_terminal:
            self.console.print(Padding(line, (0, 0, 0, _INDENT)))
        else:
            # one line, however long: for grep
            self.console.print(Text(" " * _INDENT).append_text(line))

    def _line(self) -> Text:
        return Text(self._status(), style="cyan")

    def _titles(self, metric: str) -> str:
        phases = "".join(f"{_SHORT.get(phase, phase):>{_COLUMN}}" for phase in self._phases)
        name = "" if metric == "loss" else metric[:_LONGEST_METRIC]  # it has a column of its own
        first = f"{'round':>{self._round_width}}"
        return f"{first}{name:>11}{'loss':>9}  {'replicas':<{self._width}}{'seconds':>8}{phases}"

    def _round_of(self, number: int) -> str:
        digits = len(str(self._rounds))
        return f"{number:>{max(4, digits)}}/{self._rounds:<2}"

    @property
    def _round_width(self) -> int:
        return len(self._round_of(self._rounds))

    @property
    def _width(self) -> int:
        return max(9, 2 * self._replicas + 1)

    @property
    def _phases(self) -> Sequence[str]:
        """Those whose seconds have room in a row; the report has all of them."""
        if not self.console.is_terminal:
            return PHASES
        others = self._round_width + _BEFORE_PHASES + self._width
        return PHASES[: max(0, self.console.width - others) // _COLUMN]

    def _row(self, played: Round, line: dict[str, Any]) -> Text:
        def number(value: float | None, form: str) -> str:
            return "–" if value is None else format(value, form)

        metric = headline(line)
        row = Text(self._round_of(played.number))
        shown = "" if metric == "loss" else number(line.get(f"test_{metric}"), form_of(metric))
        row.append(f"{shown:>11}")
        row.append(f"{number(line['test_loss'], '.3g'):>9}  ")
        for index in range(self._replicas):
            judgement = played.judgements.get(index)
            row.append(
                MARKS[judgement.status] if judgement else NOT_FORMED,
                _COLOURS.get(judgement.status if judgement else "", "dim"),
            )
            row.append(" ")
        row.append(" " * (self._width - 2 * self._replicas))
        seconds = played.seconds
        row.append(
            f"{seconds['total']:>8.1f}"
            + "".join(f"{seconds[phase]:>{_COLUMN}.2f}" for phase in self._phases)
        )
        return row


def closing_lines(run: Path, report: bool, finished: bool) -> Sequence[str]:
    """Where to find what the run has left."""
    typed = shlex.quote(str(run))
    lines = [f"run folder    {run}"]
    lines += [f"model         {run / 'model.pt'}"] if finished else []
    lines += [f"best model    {run / BEST_MODEL}"] if (run / BEST_MODEL).is_file() else []
    lines += [
        f"TensorBoard   {_program('tensorboard')} --logdir {shlex.quote(str(run / 'tensorboard'))}"
    ]
    tdml = _program("tdml")
    lines += [
        f"ledger        {tdml} ledger verify {typed}",
        f"rewards       {tdml} rewards {typed}",
    ]
    return lines + ([f"report        {run / 'report.html'}"] if report else [])


def _program(name: str) -> str:
    """As one can type it here."""
    return name if shutil.which(name) else str(Path(sys.executable).with_name(name))
