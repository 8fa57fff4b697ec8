"""The thread on which a worker does its work: orders come in on others, and are carried out here in
their turn."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum
from typing import TypeVar

from tdml.errors import complain, one_line

_T = TypeVar("_T")
_CHECK_S = 0.2


class Ending(Enum):
    """Why a session has ended for a worker."""

    CALLED = "the coordinator calls to another session"
    GONE = "the coordinator is gone"


class MainThread:
    """All tensors, generators and groups of a worker belong to the thread that calls `serve`.

    Once `ending` gives a reason, there is nothing more to do in this session: `give_up` is called
    on another thread, and `serve` ends.
    """

    def __init__(
        self, ending: Callable[[], Ending | int | None], give_up: Callable[[], None]
    ) -> None:
        self._ending, self._give_up = ending, give_up
        self._jobs: queue.SimpleQueue[Callable[[], None] | int | Ending] = queue.SimpleQueue()

    def serve(self) -> int | Ending:
        """Do what comes until `stop`, and return its status, or until the session ends, and return
        why."""
        threading.Thread(target=self._watch, daemon=True).start()
        while callable(job := self._jobs.get()):
            job()
        while not self._jobs.empty():  # somebody waits for what came too late
            if callable(late := self._jobs.get()):
                late()
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
        try:
            ending = self._wait_for_the_end()
        except Exception as error:  # nobody else would end the session
            complain(
                f"tdml: what becomes of the session cannot be told any more: {one_line(error)}"
            )
            ending = Ending.GONE
        self._give_up()
        self._jobs.put(ending)

    def _wait_for_the_end(self) -> Ending | int:
        while (ending := self._ending()) is None:
            time.sleep(_CHECK_S)
        return ending
