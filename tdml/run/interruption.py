"""How a rank ends from outside: by a signal, or together with whoever started it.

A thread of its own takes the signals: the main thread is deaf to them while it waits in C++, and
what a handler raises there can get lost in a library, or cut the record of a round in half.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable

from tdml.common.environment import LAUNCHER

# Ctrl-C; a scheduler, or torchrun when another rank has failed
_ALWAYS = (signal.SIGINT, signal.SIGTERM)
_HANG_UP = signal.SIGHUP  # the terminal was closed; `nohup` has it ignored
_PR_SET_PDEATHSIG = 1


class Interruption:
    """The first signal that wants this process to end. The process dies of it at once, until
    `defer` says otherwise.

    To be made before any other thread is started: they inherit that these signals are not theirs.
    """

    def __init__(self) -> None:
        self._came = threading.Event()
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._end: Callable[[signal.Signals], None] = _die
        self._signals = interrupts()
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        # what users' code starts, such as a pool of processes, is ended by SIGTERM
        os.register_at_fork(after_in_child=self._let_through)
        threading.Thread(target=self._take, daemon=True).start()

    def defer(self, seconds: float, end: Callable[[signal.Signals], None] | None = None) -> None:
        """From now on a signal leaves the process that many seconds to end in its own way. Then
        `end`, which must not return, ends it; without one it dies of the signal."""
        with self._lock:
            self._seconds, self._end = seconds, end or _die

    def check(self) -> None:
        """Called where nothing is half done.

        Raises:
            KeyboardInterrupt: a signal has come.
        """
        if self._came.is_set():
            raise KeyboardInterrupt

    def _let_through(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)

    def _take(self) -> None:
        number = signal.Signals(signal.sigwait(self._signals))
        with self._lock:
            self._came.set()
            seconds, end = self._seconds, self._end
        time.sleep(seconds)
        end(number)


def interrupts() -> set[signal.Signals]:
    """The signals that end a run."""
    ignored = signal.getsignal(_HANG_UP) == signal.SIG_IGN
    return {*_ALWAYS} if ignored else {*_ALWAYS, _HANG_UP}


def end_with_parent() -> None:
    """Have this process sent SIGTERM when its parent dies, which has started it: one that is killed
    takes nobody along by itself."""
    parent = int(os.environ.get(LAUNCHER, os.getppid()))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before
        signal.raise_signal(signal.SIGTERM)


def _die(number: signal.Signals) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.raise_signal(number)
