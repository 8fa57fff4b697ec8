"""The thread on which a worker does its work: orders come in on others, and are carried out here in their turn."""

import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")
_CHECK_S = 5.0


class MainThread:
    """All tensors, generators and groups of a worker belong to the thread that calls `serve`."""

    def __init__(self, coordinator_lives: Callable[[], bool]) -> None:
        self._coordinator_lives = coordinator_lives
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def serve(self) -> bool:
        """Do what comes until `stop`; false if the coordinator is gone without a word."""
        while True:
            try:
                job = self._jobs.get(timeout=_CHECK_S)
            except queue.Empty:
                if not self._coordinator_lives():
                    return False
                continue
            if job is None:
                return True
            job()

    def do(self, work: Callable[[], _T]) -> _T:
        """Have something done, and wait for its result. `work` raises nothing. Called on other threads."""
        done: Future = Future()
        self._jobs.put(lambda: done.set_result(work()))
        return done.result()

    def stop(self) -> None:
        """End `serve`. Called on another thread."""
        self._jobs.put(None)
