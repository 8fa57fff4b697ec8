"""How a process ends from outside, also while its main thread is deaf to signals: as children, for
it is theirs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(30)

_ROOT = Path(__file__).resolve().parents[2]
_WAITS = "ctypes.CDLL(None).sleep(25)"  # in C++, as RPC and gloo do


def start(*lines: str) -> subprocess.Popen:
    """A process that does this once it has an `Interruption`, and says when it is ready for the
    last line."""
    begin = [
        "import ctypes, os, signal, sys, time",
        "from tdml.run.interruption import Interruption",
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)",  # as where the tests run under nohup
    ]
    *first, last = lines
    script = [*begin, "interruption = Interruption()", *first, "print('ready', flush=True)", last]
    command = [sys.executable, "-c", "\n".join(script)]
    process = subprocess.Popen(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen, number: int) -> tuple[int, str]:
    """Send it a signal; the exit status and the output."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    return process.returncode, output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_heard_while_the_main_thread_waits(number: int) -> None:
    assert end(start(_WAITS), number) == (-number, "")


def test_who_puts_things_in_order_is_given_the_time() -> None:
    loop = "try:\n    while True: interruption.check(); time.sleep(0.05)\nexcept KeyboardInterrupt: sys.exit(75)"
    assert end(start("interruption.defer(20)", loop), signal.SIGTERM) == (75, "")


def test_but_no_more_than_that() -> None:
    leave = "def leave(number): print(number.name, flush=True); os._exit(75)"
    assert end(start(leave, "interruption.defer(0.2, leave)", _WAITS), signal.SIGTERM) == (
        75,
        "SIGTERM\n",
    )


def test_a_process_that_it_forks_can_be_ended() -> None:
    """multiprocessing.Pool ends its own by SIGTERM: a data set that is read by one waited for
    ever."""
    begin = [
        "from multiprocessing import get_context",
        "child = get_context('fork').Process(target=time.sleep, args=(25,), daemon=True)",
        "child.start()",
        "child.terminate()",
    ]
    process = start(*begin, "child.join(10); print(child.exitcode)")
    assert process.communicate(timeout=20)[0] == f"{-signal.SIGTERM}\n"


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    script = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from tdml.run.interruption import Interruption; Interruption()\n"
        "os.kill(os.getpid(), signal.SIGHUP); print('went on')"
    )
    assert (
        subprocess.check_output([sys.executable, "-c", script], cwd=_ROOT, text=True, timeout=20)
        == "went on\n"
    )


def test_who_is_killed_takes_its_children_along() -> None:
    """`kill -9` of a launcher: nothing of it runs any more, and its child hears of it."""
    child = (
        "from tdml.run.interruption import end_with_parent; end_with_parent()\n"
        "import time; print('ready', flush=True); time.sleep(25)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen(
        [sys.executable, "-c", parent], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    assert process.stdout.read() == "", "the pipe ends when the child does"


def test_a_rank_whose_launcher_died_before_it_could_ask_for_that_does_not_begin() -> None:
    environment = os.environ | {"TDML_LAUNCHER": str(os.getppid())}
    command = [sys.executable, "-m", "tdml", "rounds=1"]
    rank = subprocess.run(
        command, cwd=_ROOT, env=environment, capture_output=True, timeout=20, check=False
    )
    assert (rank.returncode, rank.stdout, rank.stderr) == (-signal.SIGTERM, b"", b"")
