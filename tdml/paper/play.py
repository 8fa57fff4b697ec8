"""Playing runs one after the other: what is done is skipped, what was cut off goes on."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tdml import config as settings
from tdml.bench.play import play
from tdml.data.source import load_source
from tdml.monitor.history import History, read
from tdml.paper.runs import Run
from tdml.run.launch import handled_by
from tdml.settings.overrides import quoted


class Player:
    """Plays runs with `tdml train`, each in a folder of its own under `folder`, all with the
    settings `extra`."""

    def __init__(self, folder: Path, data: Path, extra: Sequence[str]) -> None:
        """`data` is the folder of CIFAR-10."""
        self._folder, self._extra = folder, [f"data.root={quoted(data)}", *extra]

    def overrides(self, run: Run) -> list[str]:
        """All settings of a run. It goes on from where it was cut off."""
        folder = quoted(self._folder / run.name)
        return [*run.settings, *self._extra, f"name={run.name}", f"run_dir={folder}", "resume=auto"]

    def check(self, run: Run) -> None:
        """Find with one run what all would stumble over, before any starts.

        Raises:
            SettingError: a setting cannot work, or the data are missing.
        """
        config = settings.load(self.overrides(run))
        load_source(config)

    def play(self, runs: Sequence[Run]) -> int:
        """Play those that are not done; the exit status. Ctrl-C ends the run under way as it would
        end it alone."""
        failed = []
        with handled_by(_stop):
            for place, run in enumerate(runs, start=1):
                folder = self._folder / run.name
                print(f"[{place}/{len(runs)}] {run.name}: {state_of(folder)}", flush=True)
                try:
                    status = 0 if self._is_done(run) else play(self.overrides(run))
                except KeyboardInterrupt:
                    reached = state_of(folder)
                    print(f"stopped: {run.name}: {reached}. The same command goes on from there")
                    return 128 + signal.SIGINT
                failed += [run.name] if status else []
        if failed:
            print(
                f"tdml: {len(failed)} of {len(runs)} runs have failed: {', '.join(failed)}",
                file=sys.stderr,
            )
        return 1 if failed else 0

    def _is_done(self, run: Run) -> bool:
        history = _look(self._folder / run.name)
        if history is None or not history.ended:
            return False
        return history.settings["rounds"] >= settings.load(self.overrides(run)).rounds


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def state_of(folder: Path) -> str:
    """How far the run in a folder has come, in words.

    Raises:
        SettingError: the run is damaged.
    """
    history = _look(folder)
    if history is None or history.last is None:
        return "not begun"
    last = history.last
    reached = f"round {last.round} of {history.settings['rounds']}"
    reached += "" if last.test_accuracy is None else f", {last.test_accuracy:.3f}"
    return f"done: {reached}" if history.ended else reached


def _look(folder: Path) -> History | None:
    return read(folder) if (folder / "config.yaml").exists() else None
