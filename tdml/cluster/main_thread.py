"""The thread on which a worker does its work: orders come in on others, and are carried out here in
their turn."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")
_CHECK_S = 5.0


class MainThread:
    """All tensors, generators and groups of a worker belong to the thread that calls `serve`.

    Without a coordinator there is nothing to do: once `coordinator_lives` says no, `give_up` is
    called on another thread, and `serve` ends.
    """

    def __init__(self, coordinator_lives: Callable[[], bool], give_up: Callable[[], None]) -> None:
        self._coordinator_lives, self._give_up = coordinator_lives, give_up
        self._jobs: queue.SimpleQueue[Callable[[], None] | int | None] = queue.SimpleQueue()

    def serve(self) -> int | None:
        """Do what comes until `stop`, and return its status; None if the coordinator is gone
        without a word."""
        threading.Thread(target=self._watch, daemon=True).start()
        while callable(job := self._jobs.get()):
            job()
        return job

    def do(self, work: Callable[[], _T]) -> _T:
        """Have something done, and wait for its result. `work` raises nothing. Called on other
        threads."""
        done: Future = Future()
        self._jobs.put(lambda: done.set_result(work()))
        return done.result()

    def stop(self, status: int) -> None:
        """End `serve`. Called on another thread."""
        self._jobs.put(status)

    def _watch(self) -> None:
        while self._coordinator_lives():
            time.sleep(_CHECK_S)
        self._give_up()
        self._jobs.put(None)
