"""Whole jobs in processes of their own, one after the other: for what can be measured of them only,
and for experiments."""

import atexit
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
    job: subprocess.Popen | None = None
    came = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal came
        first, came = not came, True
        if first and job is not None:  # else it is not there yet, or is ending
            raise KeyboardInterrupt

    with handled_by(interrupt):
        # In a group of its own: Ctrl-C on the terminal would otherwise reach it twice, from there
        # and from here. But in the same session, to which some kernels bind what `nice` means.
        command = [sys.executable, "-m", "tdml.cli", "train", *overrides]
        job = subprocess.Popen(command, process_group=0)
        atexit.register(job.terminate)  # a daemon thread that waits for it has no `finally`
        try:
            if came:
                raise KeyboardInterrupt
            yield job
        finally:
            job.terminate()
            job.wait()
            atexit.unregister(job.terminate)
