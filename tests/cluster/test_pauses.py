"""A process that has stood still knows it."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tdml.cluster.pauses import Pauses

_CODE = """
import time
from tdml.cluster.pauses import Pauses
pauses = Pauses(1.0)
print(pauses.count, flush=True)
input()
print(pauses.count, flush=True)
time.sleep(1.5)
print(pauses.count, flush=True)
"""


def test_a_process_that_was_stopped_knows_it_at_once_and_counts_it_once() -> None:
    for stopped, expected in ((2.5, ["1", "1"]), (0.0, ["0", "0"])):
        with subprocess.Popen(
            [sys.executable, "-c", _CODE], stdin=-1, stdout=-1, text=True
        ) as process:
            try:
                assert process.stdin and process.stdout
                assert process.stdout.readline() == "0\n"
                if stopped:
                    os.kill(process.pid, signal.SIGSTOP)
                    time.sleep(stopped)
                process.stdin.write("\n")
                process.stdin.flush()
                os.kill(process.pid, signal.SIGCONT)
                assert [process.stdout.readline().strip() for _ in range(2)] == expected
            finally:
                process.kill()


def test_who_asks_while_a_pause_is_noted_does_not_count_it_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a round that begins right then would not know of the next one."""
    now, told = [0.0], []

    class Asked(Pauses):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if now[0]:
                told.append(self.count)

    def sleep(_: float) -> None:
        if told:
            raise InterruptedError

    monkeypatch.setattr("tdml.cluster.pauses._now", lambda: now[0])
    monkeypatch.setattr("tdml.cluster.pauses.time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr("threading.Thread.start", lambda _: None)
    pauses = Asked(1.0)
    now[0] = 5.0
    with pytest.raises(InterruptedError):
        pauses._watch()
    assert set(told) == {1}
