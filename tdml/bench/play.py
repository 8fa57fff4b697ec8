"""Whole jobs, for what can be measured of them only."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from tdml.run.launch import handled_by


def play(overrides: Sequence[str]) -> int:
    """Run a job in processes of its own, as `tdml train` does; its exit status, for it says itself
    what is wrong."""
    with running(overrides) as job:
        return job.wait()


@contextmanager
def running(overrides: Sequence[str]) -> Iterator[subprocess.Popen]:
    """A job in processes of its own, which whatever ends this one ends."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with handled_by(interrupt):
        job = subprocess.Popen([sys.executable, "-m", "tdml.cli", "train", *overrides])
        try:
            yield job
        finally:
            job.terminate()
            job.wait()
