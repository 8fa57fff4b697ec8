"""When to stop waiting for a slow replica, without asking the user to guess."""

import statistics
import threading
import time

_FACTOR, _SLACK_S = 3.0, 30.0


class Deadline:
    """The deadline of one round, shared by the threads that wait for its replicas.

    As set by the user, or, once more than half of the replicas have finished, three times their
    median time plus 30 s.
    """

    def __init__(self, replicas: int, seconds: float | None) -> None:
        self._replicas, self._seconds = replicas, seconds
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._finished: list[float] = []

    def finished(self) -> None:
        """A replica has finished."""
        with self._lock:
            self._finished.append(time.monotonic() - self._start)

    def passed(self) -> str | None:
        """Why not to wait any longer, or None."""
        with self._lock:
            limit = deadline(self._finished, self._replicas, self._seconds)
        elapsed = time.monotonic() - self._start
        if elapsed <= limit:
            return None
        cause = (
            "sync.deadline"
            if self._seconds
            else f"the others took {statistics.median(self._finished):.1f} s"
        )
        return f"late: not done after {elapsed:.1f} s ({cause})"


def deadline(finished: list[float], replicas: int, seconds: float | None) -> float:
    """Seconds that a replica may take, given how long those took that have finished."""
    if seconds is not None:
        return seconds
    if 2 * len(finished) <= replicas:
        return float("inf")
    return _FACTOR * statistics.median(finished) + _SLACK_S
